function [Y, Z, bounds, s] = minimax(A, invert, maxSteps)
%MINIMAX  Roots by the coupled composite minimax iteration.
%   [Y, Z, BOUNDS, S] = MINIMAX(A, INVERT, MAXSTEPS): Y = A^(1/2), and if INVERT,
%   Z = A^(-1/2); bounds on the eigenvalues of Y, 1 x 2 x pages. R = Z*Y,
%   T = h(R), Y <- Y*T, Z <- T*Z with polynomials h that minimise the largest
%   abs(1 - sqrt(t)*h(t)) over the eigenvalues t that R may have.
%
%   With m = trace(A)/n, the norm of E = A/m - I and of E^2 bound the spectrum
%   to m*(1 - radius) ... m*(1 + radius). The first step has degree 17 where
%   radius <= 0.9. Elsewhere 3 (single) or 4 (double) steps of degree 9 are made
%   for condition numbers up to 1e4 or 1e6. Taylor steps of the least degree
%   that suffices finish. Each page goes its own way, together with those that
%   take the same. What has not converged after MAXSTEPS, and in single what
%   has a condition number above 2e4, is done by eigenvalues in double: these, of
%   Y, are in S, 1 x n x pages, the eigenvectors in Z, and BOUNDS(1) = 0.
%
%   The same as sqrtm.Minimax of the Python library, see there.

table = minimax_table();
if strcmp(class_of(A), 'single')
    [tolerance, general, precision] = deal(1e-6, table.single, eps('single'));
    maxSteps = default(maxSteps, 5);
else
    [tolerance, general, precision] = deal(2e-13, table.double, eps);
    maxSteps = default(maxSteps, 14);
end
[n, ~, pages] = size(A);
m = page_trace(A)/n;
m(~(m > 2*realmin(class_of(A)))) = 1;  % not for the iteration
E = add_to_diagonal(A./m, -1);
E2 = page_times(E, E);
radius = spectral_radius(page_norm(E).^2/n, page_norm(E2), n, precision);

% The first step, for all that take the same.
Y = zeros(size(A), 'like', A);
Z = Y;
radii = cell2mat(table.first(:, 1));
way = 1 + sum(~(radius <= radii'), 2);  % the first radius that is large enough, or none
steps = zeros(1, pages);
finished = false(1, pages);
for i = unique(host(way(:)))'
    k = find(host(way(:))' == i);
    if i <= numel(radii)
        Z(:, :, k) = first_step(E(:, :, k), E2(:, :, k), table.first{i, 3})./sqrt(m(:, :, k));
        Y(:, :, k) = page_times(A(:, :, k), Z(:, :, k));
        finished(k) = table.first{i, 2} < tolerance;
        steps(k) = 1;
    else
        [Y(:, :, k), Z(:, :, k)] = ...
            general_steps(A(:, :, k), m(:, :, k), E(:, :, k), E2(:, :, k), radius(:, :, k), general);
        steps(k) = size(general, 1);
    end
end
E = [];  %#ok<NASGU> memory
E2 = []; %#ok<NASGU>

% Taylor steps until the next error, remainder*norm(R - I)^(degree + 1), is below the tolerance.
degree = [1, 2, 4];
remainder = [3/8, 5/16, 63/256];
enough = (tolerance./remainder).^(1./(degree + 1));
failed = false(1, pages);
active = find(~finished);
while ~isempty(active)
    R = add_to_diagonal(page_times(Z(:, :, active), Y(:, :, active)), -1);
    R2 = zeros(size(R), 'like', R);
    norms = page_norm(R);
    hard = find(host(norms(:))' > enough(1));
    R2(:, :, hard) = page_times(R(:, :, hard), R(:, :, hard));
    norms(:, :, hard) = max(sqrt(page_norm(R2(:, :, hard))), 2*enough(1));  % a closer bound on the 2-norm
    way = 1 + sum(~(host(norms(:)) <= [enough, 2*n^(1/4)]), 2)';  % 5 for NaN too
    way(way == 4 & steps(active) >= maxSteps) = 5;
    for i = unique(way(way < 5))
        k = find(way == i);
        T = taylor(R(:, :, k), R2(:, :, k), i);
        page = active(k);
        Y(:, :, page) = page_times(Y(:, :, page), T);
        if invert || i == 4
            Z(:, :, page) = page_times(T, Z(:, :, page));
        end
        steps(page) = steps(page) + 1;
    end
    failed(active(way == 5)) = true;
    active = active(way == 4);
end

known = radius <= radii(end);
others = find(host(~known(:)))';
if strcmp(class_of(A), 'single') && ~isempty(others)
    squared = least_eigenvalue(Z(:, :, others)).^2;
    failed(others) = failed(others) | host(reshape(squared < 5e-5*m(:, :, others).*(1 + radius(:, :, others)), 1, []));
end
low = sqrt(m.*(1 - radius));
high = sqrt(m.*(1 + radius));
if invert
    Z = symmetrize(Z);
    low(:, :, others) = 1./spectral_bound(Z(:, :, others));
    high(:, :, others) = min(high(:, :, others), spectral_bound(Y(:, :, others)));
end
bounds = [low, high];
s = zeros(1, n, pages, 'like', low);
failed = find(failed);
if ~isempty(failed)
    [U, d] = eigen(double(A(:, :, failed)));
    d = semidefinite(d, A, failed);
    Y(:, :, failed) = page_times(U.*sqrt(d), page_ctranspose(U));
    Z(:, :, failed) = U;
    s(:, :, failed) = root_values(d, max(4*precision, null_level(U)));
    bounds(:, 1, failed) = 0;
    bounds(:, 2, failed) = s(:, end, failed);
end
end

function radius = spectral_radius(v, norm_of_square, n, precision)
% A bound on the 2-norm of E: the n eigenvalues of E^2 have mean v and root mean square norm(E^2, 'fro')/sqrt(n), so
% that none is above v + sqrt(n - 1)*sqrt(norm(E^2, 'fro')^2/n - v^2) (Samuelson's inequality). Raised by what rounding
% may hide.
norm_of_square = norm_of_square + n*n*precision*v;
spread = norm_of_square.^2/n - v.^2*(1 - (2*n + n*n/8)*precision);
radius = sqrt(v + sqrt((n - 1)*max(spread, 0)));
radius = radius*(1 + (n + n*n/16)*precision) + (2*sqrt(n) + 8)*precision;
end

function x = least_eigenvalue(Z)
% An upper estimate of that of inv(Z), by the power method from the longest column of each page.
[~, longest] = max(sum(abs(Z).^2, 1), [], 2);
v = zeros(size(Z, 1), 1, size(Z, 3), 'like', Z);
for k = 1:size(Z, 3)
    v(:, :, k) = Z(:, longest(k), k);
end
for step = 1:3
    v = page_times(Z, v./page_norm(v));
end
x = 1./page_norm(v);
end

function T = first_step(E, E2, h)
% s*L*R + eta*E + k*I with R = (E^2 + b*E + x*I)*(E^2 + y*I) + beta*I, L = R + delta*(E^2 + y*I) + alpha*I.
[s, b, x, y, beta, delta, alpha, eta, k] = deal_out(h);
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
[s, a, b, c, k] = deal_out(h);
T = add_to_diagonal(s*page_times(add_to_diagonal(R2 + a*R, b), add_to_diagonal(R2, c)), k);
end

function varargout = deal_out(x)
% The entries of x, one by one.
varargout = num2cell(x);
end
