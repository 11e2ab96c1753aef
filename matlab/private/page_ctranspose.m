function A = page_ctranspose(A)
%PAGE_CTRANSPOSE  A(:, :, k)' for each k.

if size(A, 3) == 1
    A = A';
elseif isreal(A)
    A = permute(A, [2, 1, 3]);
else
    A = conj(permute(A, [2, 1, 3]));
end
end
