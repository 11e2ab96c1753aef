function x = page_trace(A)
%PAGE_TRACE  Trace of Hermitian A(:, :, k) for each k, 1 x 1 x pages.

[n, ~, pages] = size(A);
A = reshape(A, n*n, 1, pages);
x = sum(real(A(1:n + 1:n*n, :, :)), 1);
end
