function tests = test_matrix_sqrt()
%TEST_MATRIX_SQRT  Tests of MATRIX_SQRT and of the help texts, for RUN_TESTS.

tests = localfunctions();
end

function test_the_original_experiment()
start = tic();
[text, results] = experiment('runIter', 1);
assert_below(sum([results.seconds]), toc(start), 'seconds that it says it took, and those that passed');
forward = results(strcmp({results.pass}, 'forward'));
backward = results(strcmp({results.pass}, 'backward'));
assert_true(isequal({forward.method}, {'sqrtm', 'svd', 'db', 'ns', 'minimax'}), 'other methods');
assert_true(isequal({backward.method}, {'matrix-backprop', 'lyap-svd', 'lyap-ns', 'lyap-cheb'}), 'other gradients');
for row = forward
    assert_below(row.error, 5e-6, row.method);
end
for row = backward([2, 4])
    assert_below(row.error, 1e-5, row.method);
end
assert_true(all(isfinite([results.error])) && all([results.seconds] > 0), 'a figure is missing');
for part = {'n 512, tau 1, numPoints 1000, batch 1, single, CPU, maxIter 10, runIter 1', 'Forward', 'Backward', ...
        'sqrtm, in double', 'SVD', 'Denman-Beavers (10 iter)', 'Newton-Schulz (10 iter)', 'Minimax', ...
        'Matrix-backprop', 'Lyapunov SVD', 'Lyapunov Newton-Schulz (10 iter)', 'Lyapunov Chebyshev'}
    assert_true(~isempty(strfind(text, part{1})), 'not printed: %s', part{1});
end
for row = results
    figures = sprintf(' %6.1f ms  %7.1e\n', row.seconds*1e3, row.error);
    assert_true(~isempty(strfind(text, figures)), 'not printed of %s: %s', row.method, figures);
end
end

function test_options()
[text, results] = experiment('N', 12, 'tau', 0.5, 'numpoints', 40, 'batch', 3, 'precision', 'double', 'maxIter', 15, ...
    'runIter', 1, 'gpu', false, 'seed', 7);
assert_true(~isempty(strfind(text, 'n 12, tau 0.5, numPoints 40, batch 3, double, CPU, maxIter 15, runIter 1')), text);
assert_true(~isempty(strfind(text, 'Denman-Beavers (15 iter)')), text);
for row = results
    assert_below(row.error, 1e-11, row.method);
end
[~, same] = experiment('n', 12, 'tau', 0.5, 'numPoints', 40, 'batch', 3, 'precision', 'double', 'maxIter', 15, ...
    'runIter', 1, 'seed', 7);
[~, other] = experiment('n', 12, 'tau', 0.5, 'numPoints', 40, 'batch', 3, 'precision', 'double', 'maxIter', 15, ...
    'runIter', 1, 'seed', 8);
assert_true(isequal([same.error], [results.error]) && ~isequal([other.error], [results.error]), 'the seed');
end

function test_the_error_is_that_of_the_worst_matrix()
[~, first] = experiment('n', 12, 'numPoints', 40, 'maxIter', 4, 'runIter', 1);
[~, all_of_them] = experiment('n', 12, 'numPoints', 40, 'maxIter', 4, 'runIter', 1, 'batch', 8);
row = strcmp({first.method}, 'ns');
assert_true(all_of_them(row).error > first(row).error, 'of 8 matrices, the first among them, the least');
end

function test_fewer_steps_have_larger_errors()
[~, results] = experiment('n', 12, 'numPoints', 40, 'maxIter', 3, 'runIter', 1);
for name = {'db', 'ns', 'lyap-ns'}
    row = results(strcmp({results.method}, name{1}));
    assert_true(row.error > 1e-5, '%s: %g after 3 steps', name{1}, row.error);
end
end

function test_tau_and_points_make_matrices_well_conditioned()
for options = {'tau', 'numPoints'; 0, 21; 10, 20000}
    [~, hard] = experiment('n', 20, 'tau', 0, 'numPoints', 60, 'maxIter', 6, 'runIter', 1, options{[1, 2]});
    [~, easy] = experiment('n', 20, 'tau', 0, 'numPoints', 60, 'maxIter', 6, 'runIter', 1, options{[1, 3]});
    found = [hard(strcmp({hard.method}, 'ns')).error, easy(strcmp({easy.method}, 'ns')).error];
    assert_true(found(1) > 1e-4 && found(2) < 1e-5, '%s: %g and %g', options{1}, found);
end
end

function test_random_numbers_are_as_before()
rng(5);
before = rand();
rng(5);
experiment('n', 4, 'numPoints', 9, 'runIter', 1);
assert_true(rand() == before, 'the state of the random numbers has changed');
end

function test_nothing_is_returned_unless_asked_for()
text = evalc('matrix_sqrt(''n'', 4, ''numPoints'', 9, ''runIter'', 1)');
assert_true(isempty(strfind(text, 'ans')), text);
end

function test_bad_options()
assert_error(@() matrix_sqrt('size', 3), 'sqrtm:badOption');
assert_error(@() matrix_sqrt('n'), 'sqrtm:badOption');
assert_error(@() matrix_sqrt(512), 'sqrtm:badOption');
assert_error(@() matrix_sqrt('n', 9, 'tau', 0, 'numPoints', 8), 'sqrtm:badOption');
for pair = {'seed', 2^32; ...
        'n', 0; 'n', 2.5; 'n', 'x'; 'n', [2, 3]; 'tau', -1; 'tau', NaN; 'numPoints', Inf; 'batch', 0; ...
        'precision', 'half'; 'precision', 1; 'precision', {{'single'}}; 'n', sparse(4); ...
        'tau', 1e40; 'maxIter', 0; 'runIter', 0; 'gpu', 2; 'gpu', 'yes'; 'seed', -1}'
    assert_error(@() matrix_sqrt(pair{:}), 'sqrtm:badOption');
end
if ~exist('gpuDeviceCount', 'file')
    assert_error(@() matrix_sqrt('gpu', true), 'sqrtm:noGPU');
end
end

function test_help_texts()
for name = {'sqrt_forward', 'sqrt_backward', 'matrix_sqrt'}
    text = help(name{1});
    assert_true(~isempty(strfind(lower(text), name{1})), 'help %s', name{1});
    for part = { 'Errors:', 'Example', 'See also'}
        assert_true(~isempty(strfind(text, part{1})), 'help %s has no %s', name{1}, part{1});
    end
end
end

function [text, results] = experiment(varargin)
% What MATRIX_SQRT prints and returns.
[text, results] = evalc('matrix_sqrt(varargin{:})');
end
