function y = sqrt(x)
%SQRT  Raises for negative real numbers, as MATLAB's does on a GPU.

if isreal(x) && any(x(:) < 0)
    error('sqrtm:negative', 'the root of a negative number');
end
y = builtin('sqrt', x);
end
