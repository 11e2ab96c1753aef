function C = page_times(A, B)
%PAGE_TIMES  C(:, :, k) = A(:, :, k)*B(:, :, k), by PAGEMTIMES where that exists.

persistent batched
if isempty(batched)
    batched = exist('pagemtimes', 'builtin') || exist('pagemtimes', 'file');
end
if size(A, 3) == 1
    C = A*B;
elseif batched
    C = pagemtimes(A, B);
else
    C = zeros(size(A, 1), size(B, 2), size(A, 3), 'like', A);
    for k = 1:size(A, 3)
        C(:, :, k) = A(:, :, k)*B(:, :, k);
    end
end
end
