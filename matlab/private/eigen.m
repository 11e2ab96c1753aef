function [U, d] = eigen(A)
%EIGEN  Eigenvectors and ascending eigenvalues, 1 x n x pages, of each Hermitian page.

U = A;
d = real(A(1, :, :));
for k = 1:size(A, 3)
    [U(:, :, k), D] = eig(A(:, :, k));
    d(1, :, k) = real(diag(D))';
end
end
