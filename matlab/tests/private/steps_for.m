function maxIter = steps_for(method)
%STEPS_FOR  So many that iterations converge for condition numbers up to 1e4; [] for what has its own default.

maxIter = [];
if any(strcmp(method, {'db', 'ns', 'lyap-ns'}))
    maxIter = 24;
end
end
