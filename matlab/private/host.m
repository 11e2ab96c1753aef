function x = host(x)
%HOST  x in the memory of the CPU.

if isa(x, 'gpuArray')
    x = gather(x);
end
end
