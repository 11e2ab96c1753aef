function A = add_to_diagonal(A, c)
%ADD_TO_DIAGONAL  A(:, :, k) + c*I for each k; c is a number, or one a page.

[n, ~, pages] = size(A);
index = (1:n + 1:n*n)' + n*n*(0:pages - 1);
A(index) = A(index) + reshape(c, 1, []);
end
