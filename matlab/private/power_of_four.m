function s = power_of_four(A)
%POWER_OF_FOUR  Power of 4 that brings the largest real or imaginary part of each page into [1, 4), on the CPU.
%   Dividing by it, and multiplying a root by its root, is exact.

[~, exponent] = log2(host(max(max(max(abs(real(A)), abs(imag(A))), [], 1), [], 2)));
least = 2*ceil(double(log2(eps(cast(0, class_of(A)))))/2);  % of a power of 4 that is not 0
s = pow2(ones(size(exponent), class_of(A)), max(2*floor((exponent - 1)/2), least));
end
