function A = add_to_diagonal(A, c)
%ADD_TO_DIAGONAL  A(:, :, k) + diag(c), page by page; c is a number, one a page, or n a page.

[n, ~, pages] = size(A);
if numel(c) == n*pages
    c = reshape(c, n, pages);
else
    c = reshape(c, 1, []);
end
A = reshape(A, n*n, pages);
A(1:n + 1:n*n, :) = A(1:n + 1:n*n, :) + c;
A = reshape(A, n, n, pages);
end
