function x = page_norm(A)
%PAGE_NORM  Frobenius norm of A(:, :, k) for each k, 1 x 1 x pages.

x = sqrt(sum(sum(abs(A).^2, 1), 2));
end
