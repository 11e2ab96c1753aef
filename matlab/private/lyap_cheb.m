function X = lyap_cheb(S, Z, bounds, s, G)
%LYAP_CHEB  Solution of S*X + X*S = G by matrix products, for Z = inv(S).
%   BOUNDS is on the eigenvalues of S, 1 x 2 x pages; G is Hermitian. With
%   mu = sqrt(norm(Z)/norm(S)), one step of Newton's method for the sign of
%   [S, G; 0, -S] gives S1*X + X*S1 = G1,
%
%     S1 = (mu*S + Z/mu)/2,    G1 = (mu*G + Z*G*Z/mu)/2,
%
%   and the spectrum of S1 lies in [1, c]. A polynomial in D -> S1*D + D*S1,
%   the best for its inverse there, then takes as many terms as
%   r = (sqrt(c) - 1)/(sqrt(c) + 1) asks for, one product each. Where that is
%   more than 29 (single) or 20 (double), eigenvalues of S, in double, are had
%   sooner. Where BOUNDS(1) = 0, eigenvectors are in place of Z, and s, 1 x n x
%   pages, has the eigenvalues.
%
%   Sources: J. D. Roberts, Int. J. Control 32 (1980) 677-687; N. I. Achieser,
%   Theory of Approximation, 1956, chapter II. As sqrtm.LyapunovChebyshev of
%   the Python library.

tolerance = eps;
terms = [2:8, 10, 12, 14, 17, 20];  % few numbers, so that pages alike in difficulty are computed together
if strcmp(class_of(S), 'single')
    tolerance = 2.5e-7;
    terms = [terms, 24, 29];
end
r = tolerance.^(1./terms);
c = ((1 + r)./(1 - r)).^2;
largest_ratio = (c + sqrt(c.^2 - 1)).^2;  % of the eigenvalues of S: c = (q + 1/q)/2 with q its root

X = zeros(size(G), 'like', S(1)*G(1));
ratio = host(reshape(bounds(:, 2, :)./bounds(:, 1, :), [], 1));
group = 1 + sum(~(ratio <= largest_ratio), 2)';
group(host(reshape(bounds(:, 1, :), 1, [])) == 0) = 0;
for i = unique(group)
    k = find(group == i);
    if i == 0
        X(:, :, k) = loewner(Z(:, :, k), s(:, :, k), G(:, :, k));
    elseif i > numel(terms)
        [U, values] = eigen(double(S(:, :, k)));
        X(:, :, k) = loewner(U, values, double(G(:, :, k)));
    else
        X(:, :, k) = chebyshev(S(:, :, k), Z(:, :, k), bounds(:, :, k), G(:, :, k), c(i), r(i), terms(i));
    end
end
end

function B = chebyshev(S, Z, bounds, G, c, r, terms)
% The polynomial by Clenshaw's recurrence, in N with eigenvalues in [-1, 1]: S1 = ((c - 1)*N + (c + 1)*I)/2.
mu = 1./sqrt(bounds(:, 1, :))./sqrt(bounds(:, 2, :));
N = Z./(mu*(c - 1));
G1 = symmetrize(page_times(page_times(N, G), Z)) + G.*(mu/(c - 1));
N = add_to_diagonal(N + S.*(mu/(c - 1)), -(c + 1)/(c - 1));
coefficients = (c - 1)/(4*sqrt(c))*(-r).^(0:terms - 1);
coefficients(terms) = coefficients(terms)/(1 - r^2);
B = coefficients(terms)*G1;
before = zeros(size(B), 'like', B);
for k = terms - 1:-1:1
    if k == 1
        before = 2*before;
    end
    product = page_times(N, B);
    next = product + page_ctranspose(product) - before + coefficients(k)*G1;
    before = B;
    B = next;
end
end
