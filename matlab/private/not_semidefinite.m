function not_semidefinite(A, k, ratio)
%NOT_SEMIDEFINITE  The error for page k of A, whose smallest eigenvalue is RATIO times the largest.

error('sqrtm:notPositiveSemidefinite', ['sqrt_forward: %s is not positive semidefinite: its smallest eigenvalue is ' ...
    '%.3g times the largest in size, below the %.1e taken for rounding in %s; to regularise it, add a multiple of ' ...
    'the identity'], page_name('A', A, k), ratio, -indefinite_level(A), class_of(A));
end
