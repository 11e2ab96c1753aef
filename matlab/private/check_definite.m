function check_definite(A, strictly)
%CHECK_DEFINITE  Error unless each Hermitian page is positive semidefinite, and if STRICTLY not singular.
%   What rounding explains is forgiven.

for k = 1:size(A, 3)
    page = host(A(:, :, k));
    % The largest eigenvalue of semidefinite A is at least norm(A, 'fro')^2/trace(A) and at most norm(A, 'fro'). What
    % passes with the bound that asks for more is fine; of the rest, eigenvalues tell.
    at_most = max(page_norm(page), realmin(class_of(A)));
    at_least = min(at_most, at_most^2/max(real(trace(page)), realmin(class_of(A))));
    if ~has_cholesky(page, indefinite_level(A)*at_least)
        semidefinite(eig(page)', A, k);
    end
    if strictly && ~has_cholesky(page, -null_level(A)*at_most)
        d = eig(page);
        if min(d) <= null_level(A)*max(d)
            error('sqrtm:singular', ['sqrt_forward: %s is singular to the precision of %s; use another method than ' ...
                '''db'', or add a multiple of the identity'], page_name('A', A, k), class_of(A));
        end
    end
end
end

function yes = has_cholesky(A, shift)
[~, failed] = chol(add_to_diagonal(A, shift));
yes = failed == 0;
end
