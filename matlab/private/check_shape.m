function check_shape(A, name, caller)
%CHECK_SHAPE  Error unless A is a full floating-point array of square pages.

if ~any(strcmp(class_of(A), {'single', 'double'}))
    error('sqrtm:notFloat', '%s: %s must be single or double, got %s; convert it first, e.g. double(%s)', ...
        caller, name, class_of(A), name);
end
if issparse(A)
    error('sqrtm:sparse', '%s: %s must be full, got a sparse matrix; use full(%s)', caller, name, name);
end
if size(A, 1) ~= size(A, 2)
    error('sqrtm:notSquare', '%s: %s must have square pages, n x n x ..., got %s', caller, name, size_text(A));
end
end
