function A = symmetrize(A)
%SYMMETRIZE  (A + A')/2 of each page; changes no bit of a Hermitian matrix.

A = (A + page_ctranspose(A))/2;
end
