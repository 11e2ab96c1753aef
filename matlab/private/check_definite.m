function check_definite(A, strictly)
%CHECK_DEFINITE  Error unless each Hermitian page is positive semidefinite, and if STRICTLY not singular.
%   What rounding explains is forgiven.

for k = 1:size(A, 3)
    page = host(A(:, :, k));
    % Of semidefinite A, norm(A, 'fro')^2/trace(A) lies between the largest eigenvalue over n and itself.
    largest = page_norm(page);
    if largest == 0
        largest = 1;
    elseif real(trace(page)) > 0
        largest = min(largest, largest^2/real(trace(page)));
    end
    if ~has_cholesky(page, indefinite_level(A)*largest)
        semidefinite(eig(page)', A, k);
    elseif strictly && ~has_cholesky(page, -null_level(A)*largest)
        error('sqrtm:singular', ['sqrt_forward: %s is singular to the precision of %s; use another method than ' ...
            '''db'', or add a multiple of the identity'], page_name('A', A, k), class_of(A));
    end
end
end

function yes = has_cholesky(A, shift)
[~, failed] = chol(add_to_diagonal(A, shift));
yes = failed == 0;
end
