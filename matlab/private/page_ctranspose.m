function A = page_ctranspose(A)
%PAGE_CTRANSPOSE  A(:, :, k)' for each k.

A = conj(permute(A, [2, 1, 3]));
end
