function X = loewner(U, s, G)
%LOEWNER  Solution of S*X + X*S = G for S = U*diag(s)*U', page by page.
%   s is 1 x n x pages. Where both of two eigenvalues are 0, so is the quotient:
%   the pseudo-inverse convention.

sums = s + permute(s, [2, 1, 3]);
sums(sums == 0) = Inf;
H = page_times(page_times(page_ctranspose(U), G), U);
X = page_times(page_times(U, H./sums), page_ctranspose(U));
end
