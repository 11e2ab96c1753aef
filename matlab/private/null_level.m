function level = null_level(A)
%NULL_LEVEL  Up to this times the largest, an eigenvalue computed in the class of A may be the rounding of zero.

level = max(size(A, 1), 16)*eps(class_of(A));
end
