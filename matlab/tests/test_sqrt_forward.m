function tests = test_sqrt_forward()
%TEST_SQRT_FORWARD  Tests of SQRT_FORWARD, for RUN_TESTS.

tests = localfunctions();
end

function test_roots_are_accurate_for_condition_numbers_up_to_1e4()
for c = shared_cases()
    for method = methods()
        for precision = {'double', 'single'}
            if c.kappa < 2e4
                sA = sqrt_forward(cast(c.A, precision{1}), method{1}, steps_for(method{1}));
                limits = struct('minimax', 2e-5, 'svd', 3e-4, 'ns', 3e-4, 'db', 3e-4, 'sqrtm', 1e-7);
                limit = limits.(method{1});
                if strcmp(precision{1}, 'double')
                    limit = 1e-12;
                elseif c.kappa < 200
                    limit = 2e-5;
                end
                assert_below(relative_error(sA, c.S), limit, '%s, %s, %s', c.name, method{:}, precision{:});
                assert_true(isa(sA, precision{1}), '%s, %s: of class %s', c.name, method{1}, class(sA));
                assert_true(isequal(size(sA), size(c.A)), '%s, %s: of another size', c.name, method{1});
            end
        end
    end
end
end

function test_ill_conditioned_and_singular_matrices()
for c = shared_cases()
    for method = {'minimax', 'svd'; 2e-6, 1e-3}
        assert_below(relative_error(sqrt_forward(c.A, method{1}), c.S), 1e-7, '%s, %s', c.name, method{1});
        in_single = relative_error(sqrt_forward(single(c.A), method{1}), c.S);
        assert_below(in_single, method{2}, '%s, %s, single', c.name, method{1});
    end
end
end

function test_roots_are_hermitian_to_the_bit()
for c = shared_cases()
    for method = {'minimax', 'svd'}
        sA = sqrt_forward(c.A, method{1});
        assert_true(isequal(sA, conj(permute(sA, [2, 1, 3:ndims(sA)]))), '%s, %s', c.name, method{1});
    end
end
end

function test_a_page_has_the_root_it_has_alone()
for c = shared_cases()
    for method = methods()
        if c.kappa < Inf
            [sA, cache] = sqrt_forward(c.A, method{1});
            for k = 1:size(c.A(:, :, :), 3)
                [alone, its_cache] = sqrt_forward(c.A(:, :, k), method{1});
                assert_below(relative_error(sA(:, :, k), alone), 8*eps, '%s, %s, page %d', c.name, method{1}, k);
                if ~isempty(cache)
                    distance = relative_error(cache{2}(:, :, k), its_cache{2});
                    assert_below(distance, 8*eps*c.kappa, 'cache of %s, %s, page %d', c.name, method{1}, k);
                end
            end
        end
    end
end
end

function test_powers_of_four_change_no_digit()
c = shared_cases();
A = c(strcmp({c.name}, 'easy')).A;
for method = methods()
    for k = [-490, -60, 60, 490]
        expected = sqrt_forward(A, method{1})*2^k;
        assert_true(isequal(sqrt_forward(A*4^k, method{1}), expected), '%s, 4^%d', method{1}, k);
    end
    [~, cache] = sqrt_forward(single(A*4^60), method{1});
    assert_true(all(cellfun(@(x) all(isfinite(x(:))), cache)), 'the cache of %s overflows', method{1});
end
end

function test_the_cache_of_svd()
for c = shared_cases()
    [~, cache] = sqrt_forward(c.A, 'svd');
    assert_true(numel(cache) == 2, '%d entries', numel(cache));
    for k = 1:size(c.A(:, :, :), 3)
        [U, D] = deal(cache{1}(:, :, k), cache{2}(:, :, k));
        assert_below(relative_error(U*D*U', c.A(:, :, k)), 1e-14, 'U*D*U'' of %s', c.name);
        assert_true(isequal(D, diag(diag(D))), '%s: D is not diagonal', c.name);
    end
end
end

function test_the_cache_of_minimax()
for c = shared_cases()
    [sA, cache] = sqrt_forward(c.A, 'minimax');
    assert_true(numel(cache) == 4 && isequal(cache{1}, sA), '%s: not the root', c.name);
    for k = 1:size(c.A(:, :, :), 3)
        bounds = cache{3}(:, :, k);
        s = sqrt(max(eig(c.A(:, :, k)), 0));
        assert_true(bounds(1) <= min(s)*(1 + 1e-9) && max(s) <= bounds(2)*(1 + 1e-9), '%s: not bounds', c.name);
        if bounds(1) > 0
            defect = norm(sA(:, :, k)*cache{2}(:, :, k) - eye(size(c.A, 1)), 'fro');
            assert_below(defect, 1e-14*c.kappa, 'inverse root of %s', c.name);
        else
            [U, s] = deal(cache{2}(:, :, k), cache{4}(:, :, k));
            assert_true(c.kappa > 1e5, '%s: by eigenvalues', c.name);
            limit = 1e-14 + 1e-7*isinf(c.kappa);  % where rounding is left in sA, but not in s
            assert_below(relative_error((U.*s)*U', sA(:, :, k)), limit, 'eigenvalues of %s', c.name);
        end
    end
end
end

function test_the_other_caches_are_empty()
for method = {'db', 'ns', 'sqrtm'}
    [~, cache] = sqrt_forward(eye(2), method{1});
    assert_true(isequal(cache, {}), '%s has a cache', method{1});
end
end

function test_steps_of_the_iterations()
A = [2, 1; 1, 3];
I = eye(2);
assert_below(relative_error(sqrt_forward(A, 'db', 1), (A + I)/2), eps, 'one step of db from A');
Y = A/norm(A, 'fro');
expected = Y*(3*I - Y)/2*sqrt(norm(A, 'fro'));
assert_below(relative_error(sqrt_forward(A, 'ns', 1), expected), 4*eps, 'one step of ns');
for method = {'db', 'ns'}
    assert_true(isequal(sqrt_forward(A, method{1}), sqrt_forward(A, method{1}, 10)), '%s takes 10 steps', method{1});
    assert_true(isequal(sqrt_forward(A, method{1}), sqrt_forward(A, method{1}, [])), '%s takes 10 steps', method{1});
end
c = shared_cases();
c = c(strcmp({c.name}, 'condition 1e4'));
assert_true(relative_error(sqrt_forward(c.A, 'ns', 5), c.S) > 1e-3, 'so few steps do not converge');
for method = {'minimax', 'svd', 'sqrtm'}
    assert_true(isequal(sqrt_forward(c.A, method{1}, 1), sqrt_forward(c.A, method{1})), '%s has steps', method{1});
end
assert_true(isequal(sqrt_forward(A, 'ns', int32(7)), sqrt_forward(A, 'ns', 7)), 'an integer maxIter');
end

function test_minimax_is_the_default_in_any_case_of_letters()
A = [2, 1; 1, 2];
assert_true(isequal(sqrt_forward(A), sqrt_forward(A, 'minimax'), sqrt_forward(A, ''), sqrt_forward(A, 'MiniMax')), ...
    'another default');
end

function test_a_root_alone_is_as_good_as_with_its_cache()
for c = shared_cases()
    with_cache = cell(1, 2);
    [with_cache{:}] = sqrt_forward(c.A);
    assert_below(relative_error(sqrt_forward(c.A), with_cache{1}), 4*eps, c.name);
end
end

function test_empty_arrays()
for method = methods()
    for shape = {[0, 0], [3, 3, 0], [0, 0, 2]}
        A = zeros(shape{1}, 'single');
        [sA, cache] = sqrt_forward(A, method{1});
        assert_true(isequal(size(sA), shape{1}) && isa(sA, 'single'), 'empty, %s', method{1});
        expected = 4*strcmp(method{1}, 'minimax') + 2*strcmp(method{1}, 'svd');
        assert_true(numel(cache) == expected, 'the cache of an empty A, %s', method{1});
    end
end
end

function test_the_symmetric_part_counts()
A = [2, 1; 1, 2];
for method = methods()
    sA = sqrt_forward(A + [0, 1e-6; -1e-6, 0], method{1});
    assert_below(relative_error(sA, sqrt_forward(A, method{1})), 1e-14, method{1});
end
end

function test_bad_matrices()
[~, bad] = shared_cases();
for c = bad
    for method = methods()
        assert_error(@() sqrt_forward(c.A, method{1}), c.error);
    end
end
for c = bad([bad.page] > 0)
    for method = methods()
        try
            sqrt_forward(c.A, method{1});
        catch problem
        end
        page = sprintf('A(:, :, %d) is not', c.page);
        assert_true(~isempty(strfind(problem.message, page)), '%s is not said: %s', page, problem.message);
    end
end
end

function test_indefinite_matrices_of_every_kind()
rng(1);
for k = 1:400
    d = [rand(1, mod(k, 5)), 1, -10^(-3*rand())];
    [Q, ~] = qr(randn(numel(d)) + 1i*(mod(k, 3) == 0)*randn(numel(d)));
    A = Q*diag(d)*Q';
    for precision = {'double', 'single'}
        B = cast(A + A', precision{1});
        assert_error(@() sqrt_forward(B), 'sqrtm:notPositiveSemidefinite');
        assert_error(@() sqrt_forward(cast(diag(d), precision{1})), 'sqrtm:notPositiveSemidefinite');
    end
end
end

function test_the_same_matrices_are_semidefinite_for_every_method()
n = 200;
rng(1);
[Q, ~] = qr(randn(n));
for level = [0.5, 0.9, 1.1, 2]*n*eps
    A = Q*diag([1, ones(1, n - 2)/20, -level])*Q';
    refused = zeros(1, 4);
    names = {'minimax', 'svd', 'ns', 'sqrtm'};
    for k = 1:4
        try
            sqrt_forward((A + A')/2, names{k});
        catch problem
            refused(k) = strcmp(problem.identifier, 'sqrtm:notPositiveSemidefinite');
        end
    end
    assert_true(all(refused == (level > n*eps)), '%g eps: refused by %s', level/eps, mat2str(refused));
end
end

function test_what_is_forgiven_and_what_is_not()
A = @(x) [1, x; 0, 1];  % norm(A - A', 'fro')/norm(A, 'fro') = x
for method = methods()
    for precision = {'double', 'single'; 1e-5, sqrt(eps('single'))}
        sqrt_forward(cast(A(0.9*precision{2}), precision{1}), method{1});
        assert_error(@() sqrt_forward(cast(A(1.1*precision{2}), precision{1}), method{1}), 'sqrtm:notSymmetric');
        level = 128*eps(precision{1});
        if ~strcmp(method{1}, 'db')
            sA = sqrt_forward(cast(diag([1, -0.5*level]), precision{1}), method{1});
            assert_true(isreal(sA) && all(isfinite(sA(:))), 'rounded to negative, %s', method{1});
            assert_true(sA(4) == 0 || any(strcmp(method{1}, {'ns', 'sqrtm'})), 'not taken for 0, %s', method{1});
        end
        too_negative = cast(diag([1, -2*level]), precision{1});
        assert_error(@() sqrt_forward(too_negative, method{1}), 'sqrtm:notPositiveSemidefinite');
    end
end
for n = [3, 64]
    for precision = {'double', 'single'}
        d = [1, ones(1, n - 2)/3, -0.97*max(n, 128)*eps(precision{1})];
        assert_error(@() sqrt_forward(cast(diag(d), precision{1}), 'db'), 'sqrtm:singular');
        d = [1, ones(1, n - 2)/sqrt(n), 0.9*max(n, 16)*eps(precision{1})];
        assert_error(@() sqrt_forward(cast(diag(d), precision{1}), 'db'), 'sqrtm:singular');
    end
end
for n = [16, 200]
    for level = [0.9, 1.1]*n*eps
        A = diag([ones(1, n - 1), level]);
        if level < n*eps
            assert_error(@() sqrt_forward(A, 'db'), 'sqrtm:singular');
        else
            sqrt_forward(A, 'db');
        end
    end
end
sqrt_forward(diag([1, 20*eps]), 'db');
assert_error(@() sqrt_forward(diag([1, 10*eps]), 'db'), 'sqrtm:singular');
end

function test_the_largest_and_smallest_numbers()
for method = methods()
    for a = {1e308, single(2e38), single(1e-40), 2^-1040, single(2^-149)}
        A = a{1}*eye(2);
        assert_below(relative_error(sqrt_forward(A, method{1}), sqrt(double(A))), 1e-6, '%g, %s', a{1}, method{1});
    end
    A = realmax*[1, 0.9 + 0.9i; 0.9 - 0.9i, 1];
    assert_error(@() sqrt_forward(A, method{1}), 'sqrtm:notPositiveSemidefinite');
end
end

function test_bad_arguments()
assert_error(@() sqrt_forward(), 'sqrtm:notEnoughInputs');
assert_error(@() sqrt_forward(sparse(eye(2))), 'sqrtm:sparse');
assert_error(@() sqrt_forward({eye(2)}), 'sqrtm:notFloat');
assert_error(@() sqrt_forward('abcd'), 'sqrtm:notFloat');
assert_error(@() sqrt_forward(true(2)), 'sqrtm:notFloat');
assert_error(@() sqrt_forward(ones(3, 1)), 'sqrtm:notSquare');
for method = {'newton', 3, {}, struct([]), {{'ns'}}, ['ns'; 'db']}
    assert_error(@() sqrt_forward(eye(2), method{1}), 'sqrtm:unknownMethod');
end
for maxIter = {0, -1, 1.5, NaN, Inf, [1, 2], 'x', {1}, 1i}
    assert_error(@() sqrt_forward(eye(2), 'ns', maxIter{1}), 'sqrtm:badIterations');
end
assert_error(@() sqrt_forward(ones(3), 'db'), 'sqrtm:singular');
assert_error(@() sqrt_forward(zeros(3), 'db'), 'sqrtm:singular');
end

function names = methods()
names = {'minimax', 'svd', 'db', 'ns', 'sqrtm'};
end
