function assert_true(condition, varargin)
%ASSERT_TRUE  Error unless the condition holds; the rest is what to say, as for SPRINTF.

if ~(isscalar(condition) && condition)
    error('sqrtm:assertionFailed', varargin{:});
end
end
