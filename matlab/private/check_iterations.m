function maxIter = check_iterations(maxIter, caller)
%CHECK_ITERATIONS  maxIter as a double, or [], or an error.

whole = isnumeric(maxIter) && isreal(maxIter) && isscalar(maxIter) && isfinite(maxIter) && maxIter == fix(maxIter);
if ~isequal(maxIter, []) && ~(whole && maxIter >= 1)
    error('sqrtm:badIterations', '%s: maxIter must be a positive whole number', caller);
end
maxIter = double(maxIter);
end
