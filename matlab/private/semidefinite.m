function d = semidefinite(d, A, pages)
%SEMIDEFINITE  Eigenvalues d, 1 x n x ..., of these pages of A, with 0 for negative ones that rounding made.
%   Others are an error. What counts as rounding depends on the class of A.

least = host(min(d, [], 2));
largest = host(max(abs(d), [], 2));
bad = find(least < -indefinite_level(A)*largest, 1);
if ~isempty(bad)
    error('sqrtm:notPositiveSemidefinite', ['sqrt_forward: %s is not positive semidefinite: its smallest ' ...
        'eigenvalue is %.3g times the largest in size, below the %.1e taken for rounding in %s; to regularise it, ' ...
        'add a multiple of the identity'], ...
        page_name('A', A, pages(bad)), least(bad)/largest(bad), -indefinite_level(A), class_of(A));
end
d = max(d, 0);
end
