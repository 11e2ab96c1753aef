function s = power_of_four(A)
%POWER_OF_FOUR  Power of 4 that brings the largest entry of each page into [1, 4), on the CPU.
%   Dividing by it, and multiplying a root by its root, is exact.

[~, exponent] = log2(host(max(max(abs(A), [], 1), [], 2)));
s = pow2(ones(size(exponent), class_of(A)), 2*floor((exponent - 1)/2));
s(s == 0) = 1;  % of the smallest subnormal numbers
end
