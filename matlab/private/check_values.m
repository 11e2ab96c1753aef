function [A, scale] = check_values(A, name, caller)
%CHECK_VALUES  Error unless every page is finite and Hermitian; returns (A + A')/2, divided by a power of 4 a page.
%   Asymmetry that rounding explains is forgiven: up to 1e-5 of the norm in
%   double and 3.5e-4 in single.

bad = find(host(~all(all(isfinite(A), 1), 2)), 1);
if ~isempty(bad)
    error('sqrtm:notFinite', '%s: %s is not finite: %d of its %d entries are not', caller, page_name(name, A, bad), ...
        sum(sum(host(~isfinite(A(:, :, bad))))), size(A, 1)^2);
end
scale = power_of_four(A);
A = A./scale;
asymmetry = host(page_norm(A - page_ctranspose(A))./max(page_norm(A), realmin(class_of(A))));
level = max(sqrt(eps(class_of(A))), 1e-5);
bad = find(asymmetry > level, 1);
if ~isempty(bad)
    error('sqrtm:notSymmetric', ['%s: %s is not symmetric: norm(A - A'', ''fro'')/norm(A, ''fro'') is %.1e, above ' ...
        'the %.1e taken for rounding; use (A + A'')/2 if that is meant'], ...
        caller, page_name(name, A, bad), asymmetry(bad), level);
end
A = symmetrize(A);
end
