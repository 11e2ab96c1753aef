function text = page_name(name, A, k)
%PAGE_NAME  What to call page k of A in an error.

text = name;
if size(A, 3) > 1
    text = sprintf('%s(:, :, %d)', name, k);
end
end
