function x = default(x, value)
%DEFAULT  x, or value where x is [].

if isempty(x)
    x = value;
end
end
