function name = class_of(x)
%CLASS_OF  'single' or 'double', also of what is on a GPU.

if isa(x, 'gpuArray')
    name = underlyingType(x);
else
    name = class(x);
end
end
