function C = pagemtimes(A, B)
%PAGEMTIMES  What MATLAB has from R2020b on, for a test in Octave that lacks it; counts its calls in PAGEMTIMES_CALLS.

global pagemtimes_calls
pagemtimes_calls = max([pagemtimes_calls, 0]) + 1;
C = zeros(size(A, 1), size(B, 2), size(A, 3), 'like', A);
for k = 1:size(A, 3)
    C(:, :, k) = A(:, :, k)*B(:, :, k);
end
end
