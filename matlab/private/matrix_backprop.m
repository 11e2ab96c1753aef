function X = matrix_backprop(U, d, G)
%MATRIX_BACKPROP  Gradient through A = U*diag(d)*U', as if U and d were separate outputs.
%   d is 1 x n x pages. Divides by differences of eigenvalues; where these agree
%   to rounding, their entries are dropped, which is finite and wrong.

gaps = permute(d, [2, 1, 3]) - d;
K = 1./gaps;
K(abs(gaps) <= eps(class_of(d))*max(d, [], 2)) = 0;
s = sqrt(d);
H = page_times(page_times(page_ctranspose(U), G), U);
core = K.*(permute(s, [2, 1, 3]).*H - H.*s);
half = real(diagonals(H))./(2*permute(s, [2, 1, 3]));
half(s == 0) = 0;
X = page_times(page_times(U, add_to_diagonal(core, half)), page_ctranspose(U));
end
