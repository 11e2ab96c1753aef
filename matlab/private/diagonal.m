function D = diagonal(d)
%DIAGONAL  n x n x pages with d, n x 1 x pages or 1 x n x pages, on the diagonals.

[rows, columns, pages] = size(d);
n = rows*columns;
D = zeros(n, n, pages, 'like', d);
D((1:n + 1:n*n)' + n*n*(0:pages - 1)) = reshape(d, n, pages);
end
