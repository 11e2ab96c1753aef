function A = page_inverse(A)
%PAGE_INVERSE  inv(A(:, :, k)) for each k.

for k = 1:size(A, 3)
    A(:, :, k) = inv(A(:, :, k));
end
end
