function d = diagonals(A)
%DIAGONALS  Diagonal of each page, n x 1 x pages.

[n, ~, pages] = size(A);
A = reshape(A, n*n, pages);
d = reshape(A(1:n + 1:n*n, :), n, 1, pages);
end
