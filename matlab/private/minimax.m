function [Y, Z, bounds, s] = minimax(A, invert)
%MINIMAX  Roots by the coupled composite minimax iteration.
%   [Y, Z, BOUNDS, S] = MINIMAX(A, INVERT): Y = A^(1/2), and if INVERT,
%   Z = A^(-1/2); bounds on the eigenvalues of Y, 1 x 2 x pages. R = Z*Y,
%   T = h(R), Y <- Y*T, Z <- T*Z with polynomials h that minimise the largest
%   abs(1 - sqrt(t)*h(t)) over the eigenvalues t that R may have.
%
%   With m = trace(A)/n, the norm of E = A/m - I and of E^2 bound the spectrum
%   to m*(1 - radius) ... m*(1 + radius). The first step has degree 17 where
%   radius <= 0.9. Elsewhere 3 (single) or 4 (double) steps of degree 9 are made
%   for condition numbers up to 1e4 or 1e6. Taylor steps of the least degree
%   that suffices finish. Pages that take the same are computed together. What has
%   not converged after 5 (single) or 14 (double) steps, and in single what has a
%   condition number above 2e4, is done by eigenvalues in double: these, of Y, are
%   in S, 1 x n x pages, the eigenvectors in Z, and BOUNDS(1) = 0.
%
%   The iteration is that of sqrtm.Minimax of the Python library.

coefficients = minimax_table();
if strcmp(class_of(A), 'single')
    [tolerance, general, most] = deal(1e-6, coefficients.single, 5);
else
    [tolerance, general, most] = deal(2e-13, coefficients.double, 14);
end
[m, E, E2, radius] = spectrum(A);
known = reshape(host(radius <= coefficients.first{end, 1}), 1, []);

[Y, Z, steps, finished] = first_steps(A, m, E, E2, radius, coefficients.first, general, tolerance);
[Y, Z, failed] = taylor_steps(Y, Z, invert, steps, finished, most, tolerance);
if strcmp(class_of(A), 'single')
    failed(~known) = failed(~known) | ill_conditioned(Z(:, :, ~known), m(:, :, ~known).*(1 + radius(:, :, ~known)));
end

bounds = sqrt(m.*[max(1 - radius, 0), 1 + radius]);
if invert
    Z = symmetrize(Z);
    bounds(:, 1, ~known) = 1./spectral_bound(Z(:, :, ~known));
    bounds(:, 2, ~known) = min(bounds(:, 2, ~known), spectral_bound(Y(:, :, ~known)));
end
s = zeros(1, size(A, 1), size(A, 3), 'like', bounds);
if any(failed)
    [U, d] = eigen(double(A(:, :, failed)));
    d = semidefinite(d, A, find(failed));
    Y(:, :, failed) = page_times(U.*sqrt(d), page_ctranspose(U));
    Z(:, :, failed) = U;
    s(:, :, failed) = root_values(d, max(4*eps(class_of(A)), null_level(U)));
    bounds(:, :, failed) = [zeros(1, 1, sum(failed)), s(:, end, failed)];
end
end

function [m, E, E2, radius] = spectrum(A)
% A = m*(I + E), E^2, and a bound on the 2-norm of E. The n eigenvalues of E^2 have mean v and root mean square
% norm(E^2, 'fro')/sqrt(n), so that none is above v + sqrt(n - 1)*sqrt(norm(E^2, 'fro')^2/n - v^2) (Samuelson's
% inequality). Raised by what rounding may hide.
n = size(A, 1);
precision = eps(class_of(A));
m = real(sum(diagonals(A), 1))/n;
m(~(m > 2*realmin(class_of(A)))) = 1;  % not for the iteration
E = add_to_diagonal(A./m, -1);
E2 = page_times(E, E);
v = page_norm(E).^2/n;
spread = (page_norm(E2) + n*n*precision*v).^2/n - v.^2*(1 - (2*n + n*n/8)*precision);
radius = sqrt(v + sqrt((n - 1)*max(spread, 0)));
radius = radius*(1 + (n + n*n/16)*precision) + (2*sqrt(n) + 8)*precision;
end

function [Y, Z, steps, finished] = first_steps(A, m, E, E2, radius, first, general, tolerance)
% One step where radius is small enough for one of those in the table, else all the general ones.
pages = size(A, 3);
Y = zeros(size(A), 'like', A);
Z = Y;
steps = ones(1, pages);
finished = false(1, pages);
group = 1 + reshape(host(sum(~(radius <= cell2mat(first(:, 1))'), 2)), 1, []);
for i = unique(group)
    k = find(group == i);
    if i <= size(first, 1)
        Z(:, :, k) = octic(E(:, :, k), E2(:, :, k), first{i, 3})./sqrt(m(:, :, k));
        Y(:, :, k) = page_times(A(:, :, k), Z(:, :, k));
        finished(k) = first{i, 2} < tolerance;
    else
        [Y(:, :, k), Z(:, :, k)] = ...
            general_steps(A(:, :, k), m(:, :, k), E(:, :, k), E2(:, :, k), radius(:, :, k), general);
        steps(k) = size(general, 1);
    end
end
end

function [Y, Z, failed] = taylor_steps(Y, Z, invert, steps, finished, most, tolerance)
% Until the next error, remainder*norm(R - I)^(degree + 1), is below the tolerance; failed where it does not get there.
degree = [1, 2, 4];
remainder = [3/8, 5/16, 63/256];
enough = (tolerance./remainder).^(1./(degree + 1));
failed = false(size(finished));
active = find(~finished);
while ~isempty(active)
    R = add_to_diagonal(page_times(Z(:, :, active), Y(:, :, active)), -1);
    R2 = zeros(size(R), 'like', R);
    delta = reshape(host(page_norm(R)), 1, []);
    hard = find(delta > enough(1));
    R2(:, :, hard) = page_times(R(:, :, hard), R(:, :, hard));
    delta(hard) = sqrt(reshape(host(page_norm(R2(:, :, hard))), 1, []));  % closer to the 2-norm
    group = 1 + sum(~(delta <= [enough, 2*size(R, 1)^(1/4)]'), 1);  % 1 to 3: the last; 4: one more; 5: hopeless, or NaN
    group(group == 4 & steps(active) >= most) = 5;
    for i = 1:4
        k = find(group == i);
        if isempty(k)
            continue
        end
        T = taylor(R(:, :, k), R2(:, :, k), i);
        page = active(k);
        Y(:, :, page) = page_times(Y(:, :, page), T);
        if invert || i == 4
            Z(:, :, page) = page_times(T, Z(:, :, page));
        end
        steps(page) = steps(page) + 1;
    end
    failed(active(group == 5)) = true;
    active = active(group == 4);
end
end

function yes = ill_conditioned(Z, largest)
% Condition number above 2e4, by the power method for the largest eigenvalue of Z, from its longest column.
[~, longest] = max(sum(abs(Z).^2, 1), [], 2);
v = zeros(size(Z, 1), 1, size(Z, 3), 'like', Z);
for k = 1:size(Z, 3)
    v(:, :, k) = Z(:, longest(k), k);
end
for step = 1:3
    v = page_times(Z, v./page_norm(v));
end
yes = reshape(host(page_norm(v).^2.*largest > 2e4), 1, []);
end

function T = octic(E, E2, h)
% s*L*R + eta*E + k*I with R = (E^2 + b*E + x*I)*(E^2 + y*I) + beta*I, L = R + delta*(E^2 + y*I) + alpha*I.
h = num2cell(h);
[s, b, x, y, beta, delta, alpha, eta, k] = h{:};
R = add_to_diagonal(page_times(add_to_diagonal(E2 + b*E, x), add_to_diagonal(E2, y)), beta);
L = add_to_diagonal(R + delta*add_to_diagonal(E2, y), alpha);
T = add_to_diagonal(s*page_times(L, R) + eta*E, k);
end

function [Y, Z] = general_steps(A, m, E, E2, radius, general)
% The steps for an unknown condition number, from the spectrum of A/m in [0, 1 + radius].
upper = 1.01*(1 + radius);
for i = 1:size(general, 1)
    [centre, ~, h] = general{i, :};
    if i == 1  % R = (I + E)/upper; F = R - centre*I has F^2 = E^2/upper^2 + 2*x*E/upper + x^2*I
        x = 1./upper - centre;
        F2 = add_to_diagonal(E2./upper.^2 + E.*(2*x./upper), x.^2);
        Z = quartic(add_to_diagonal(E./upper, x), F2, h)./sqrt(m.*upper);
        Y = page_times(A, Z);
    else
        F = add_to_diagonal(page_times(Z, Y), -centre);
        T = quartic(F, page_times(F, F), h);
        Y = page_times(Y, T);
        Z = page_times(T, Z);
    end
end
end

function T = taylor(R, R2, i)
% (I + R)^(-1/2) to the degree that goes with i.
switch i
    case 1
        T = add_to_diagonal(-R/2, 1);
    case 2
        T = add_to_diagonal(3/8*R2 - R/2, 1);
    otherwise
        T = quartic(R, R2, [35/128, -8/7, -8/35, 8/5, 11/10]);
end
end

function T = quartic(R, R2, h)
% s*(R^2 + a*R + b*I)*(R^2 + c*I) + k*I.
h = num2cell(h);
[s, a, b, c, k] = h{:};
T = add_to_diagonal(s*page_times(add_to_diagonal(R2 + a*R, b), add_to_diagonal(R2, c)), k);
end

function x = spectral_bound(A)
% An upper bound on the 2-norm of each Hermitian page.
x = min(page_norm(A), max(sum(abs(A), 1), [], 2));
end
