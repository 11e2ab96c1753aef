function write_results(path)
%WRITE_RESULTS  Every method on every good case of tests/cases.mat, in both precisions, for the Python tests to compare.
%   The file at PATH gets a struct array with fields name, precision, pass, method, value, or error where there was one,
%   and how often PAGEMTIMES was called, if the one of the tests was.

global pagemtimes_calls
folder = fileparts(mfilename('fullpath'));
addpath(fullfile(folder, '..'), folder);
results = struct('name', {}, 'precision', {}, 'pass', {}, 'method', {}, 'value', {}, 'error', {});
for c = shared_cases()
    for precision = {'double', 'single'}
        A = cast(c.A, precision{1});
        G = cast(c.G, precision{1});
        for method = {'sqrtm', 'svd', 'db', 'ns', 'minimax'}
            [value, identifier] = deal([], '');
            try
                [value, caches.(method{1})] = sqrt_forward(A, method{1}, steps_for(method{1}));
            catch problem
                identifier = problem.identifier;
            end
            results(end + 1) = struct('name', c.name, 'precision', precision, 'pass', 'forward', ...
                'method', method, 'value', value, 'error', identifier); %#ok<AGROW>
        end
        sA = sqrt_forward(A, 'ns', steps_for('ns'));
        backward = {'matrix-backprop', A, caches.svd; 'lyap-svd', A, caches.svd; 'lyap-ns', sA, {}; ...
            'lyap-cheb', A, caches.minimax}';
        for row = backward
            value = sqrt_backward(row{2}, G, row{3}, row{1}, steps_for(row{1}));
            results(end + 1) = struct('name', c.name, 'precision', precision, 'pass', 'backward', ...
                'method', row{1}, 'value', value, 'error', ''); %#ok<AGROW>
        end
    end
end
calls = max([pagemtimes_calls, 0]);
steps = steps_for('ns');
save(path, 'results', 'calls', 'steps', '-v7');
end
