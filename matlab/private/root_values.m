function s = root_values(d, level)
%ROOT_VALUES  Square roots of eigenvalues, 1 x n x pages; 0 up to LEVEL times the largest, which counts as zero.

s = sqrt(d);
s(d <= level*max(d, [], 2)) = 0;
end
