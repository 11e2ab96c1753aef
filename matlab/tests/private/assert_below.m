function assert_below(x, limit, varargin)
%ASSERT_BELOW  Error unless x <= limit; the rest is what to say, as for SPRINTF.

if ~(x <= limit)
    error('sqrtm:assertionFailed', '%s: %.3g is above %.3g', sprintf(varargin{:}), x, limit);
end
end
