function level = indefinite_level(A)
%INDEFINITE_LEVEL  Largest accepted ratio of a negative eigenvalue to the 2-norm.

level = max(size(A, 1), 128)*eps(class_of(A));
end
