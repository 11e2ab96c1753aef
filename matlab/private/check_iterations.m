function check_iterations(maxIter, caller)
%CHECK_ITERATIONS  Error unless maxIter is [] or a positive whole number.

whole = isnumeric(maxIter) && isreal(maxIter) && isscalar(maxIter) && isfinite(maxIter) && maxIter == fix(maxIter);
if ~isequal(maxIter, []) && ~(whole && maxIter >= 1)
    error('sqrtm:badIterations', '%s: maxIter must be a positive whole number', caller);
end
end
