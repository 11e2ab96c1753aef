function text = size_text(A)
%SIZE_TEXT  The size of A as text: 3 x 3 x 2.

text = strjoin(arrayfun(@num2str, size(A), 'UniformOutput', false), ' x ');
end
