function X = loewner(U, s, G)
%LOEWNER  Solution of S*X + X*S = G for S = U*diag(s)*U', page by page.
%   s is 1 x n x pages. Where both of two eigenvalues count as zero, so does the
%   quotient: the pseudo-inverse convention.

null = is_null(s);
sums = s + permute(s, [2, 1, 3]);
sums(null & permute(null, [2, 1, 3])) = Inf;
H = page_times(page_times(page_ctranspose(U), G), U);
X = page_times(page_times(U, H./sums), page_ctranspose(U));
end

function null = is_null(s)
% Which eigenvalues of S are, squared, within rounding of zero.
level = max(size(s, 2), 16)*eps(class_of(s));
null = s <= sqrt(level)*max(s, [], 2);
end
