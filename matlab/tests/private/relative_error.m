function x = relative_error(X, exact)
%RELATIVE_ERROR  Of the worst page, in the Frobenius norm.

X = double(X(:, :, :));
exact = exact(:, :, :);
size_of = max(max(abs(exact), [], 1), [], 2);
size_of(size_of == 0) = 1;
distance = sum(sum(abs((X - exact)./size_of).^2, 1), 2);
x = max(sqrt(distance./max(sum(sum(abs(exact./size_of).^2, 1), 2), realmin)));
if any(isnan(distance))  % which MAX leaves out
    x = NaN;
end
end
