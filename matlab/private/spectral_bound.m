function x = spectral_bound(A)
%SPECTRAL_BOUND  An upper bound on the 2-norm of each Hermitian page.

x = min(page_norm(A), max(sum(abs(A), 1), [], 2));
end
