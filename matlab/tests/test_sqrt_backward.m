function tests = test_sqrt_backward()
%TEST_SQRT_BACKWARD  Tests of SQRT_BACKWARD, for RUN_TESTS.

tests = localfunctions();
end

function test_gradients_are_accurate_for_condition_numbers_up_to_1e4()
for c = shared_cases()
    for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns'; 1e-2, 5e-4, 1e-2}
        for precision = {'double', 'single'}
            if c.kappa < 2e4
                dldx = gradient(cast(c.A, precision{1}), cast(c.G, precision{1}), method{1});
                limit = method{2};
                if strcmp(precision{1}, 'double')
                    limit = 5e-11;
                elseif c.kappa < 200
                    limit = 5e-5;
                end
                assert_below(relative_error(dldx, c.X), limit, '%s, %s, %s', c.name, method{1}, precision{1});
                assert_true(isa(dldx, precision{1}), '%s, %s: of class %s', c.name, method{1}, class(dldx));
                assert_true(isequal(size(dldx), size(c.A)), '%s, %s: of another size', c.name, method{1});
                assert_true(isequal(dldx, conj(permute(dldx, [2, 1, 3:ndims(dldx)]))), '%s, %s', c.name, method{1});
            end
        end
    end
end
end

function test_ill_conditioned_and_singular_matrices()
for c = shared_cases()
    for method = {'lyap-svd', 'lyap-cheb'}
        assert_below(relative_error(gradient(c.A, c.G, method{1}), c.X), 2e-7, '%s, %s', c.name, method{1});
    end
    if c.kappa > 2e4  % which 'minimax' does by eigenvalues in double
        dldx = gradient(single(c.A), single(c.G), 'lyap-cheb');
        assert_below(relative_error(dldx, c.X), 5e-6, '%s, lyap-cheb in single', c.name);
    end
end
end

function test_matrix_backprop_is_right_where_eigenvalues_are_apart()
for c = shared_cases()
    if any(strcmp(c.name, {'covariance', 'easy', 'condition 1e4', 'two axes', 'complex'}))
        assert_below(relative_error(gradient(c.A, c.G, 'matrix-backprop'), c.X), 1e-10, c.name);
    end
end
end

function test_matrix_backprop_is_finite_and_wrong_at_ties()
c = shared_cases();
c = c(strcmp({c.name}, 'ties'));
for precision = {'double', 'single'}
    dldx = gradient(cast(c.A, precision{1}), cast(c.G, precision{1}), 'matrix-backprop');
    assert_true(all(isfinite(dldx(:))), 'not finite');
    assert_true(relative_error(dldx, c.X) > 0.1, 'right, so the help text is not');
end
end

function test_finite_differences()
h = 1e-4;
A = [2, 0.5, 0.1; 0.5, 1, 0.2; 0.1, 0.2, 3];
dldy = magic(3);
loss = @(A) sum(sum(dldy.*sqrt_forward(A)));
for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
    dldx = gradient(A, dldy, method{1});
    for k = 1:9
        E = zeros(3);
        E(k) = h/2;
        E = E + E';
        slope = (loss(A + E) - loss(A - E))/(2*h);
        assert_below(abs(slope - dldx(k)), 1e-7, '%s, entry %d', method{1}, k);
    end
end
end

function test_a_page_has_the_gradient_it_has_alone()
for c = shared_cases()
    for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
        if c.kappa < 2e4
            dldx = gradient(c.A, c.G, method{1});
            for k = 1:size(c.A(:, :, :), 3)
                alone = gradient(c.A(:, :, k), c.G(:, :, k), method{1});
                limit = 1e-12 + 1e-9*strcmp(method{1}, 'matrix-backprop');
                assert_below(relative_error(dldx(:, :, k), alone), limit, '%s, %s, page %d', c.name, method{1}, k);
            end
        end
    end
end
end

function test_only_the_hermitian_part_of_the_incoming_gradient_counts()
c = shared_cases();
c = c(strcmp({c.name}, 'complex'));
for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
    H = (c.G + conj(permute(c.G, [2, 1, 3])))/2;
    assert_true(isequal(gradient(c.A, c.G, method{1}), gradient(c.A, H, method{1})), method{1});
end
end

function test_steps_and_terms()
c = shared_cases();
c = c(strcmp({c.name}, 'condition 1e4'));
sA = sqrt_forward(c.A);
by_default = sqrt_backward(sA, c.G, {}, 'lyap-ns');
assert_true(isequal(by_default, sqrt_backward(sA, c.G, {}, 'lyap-ns', 10)), 'lyap-ns takes 10 steps');
assert_true(relative_error(by_default, c.X) > 1e-3, 'so few steps do not converge');
G = (c.G(:, :, 1) + c.G(:, :, 1)')/2;
scale = norm(sA(:, :, 1), 'fro');
N = sA(:, :, 1)/scale;
expected = (3*G - N*(N*G) + (N*G - G*N)*N)/(4*scale);
one_step = sqrt_backward(sA(:, :, 1), c.G(:, :, 1), {}, 'lyap-ns', 1);
assert_below(relative_error(one_step, expected), 1e-14, 'one step of lyap-ns');
[~, cache] = sqrt_forward(c.A);
by_default = sqrt_backward(c.A, c.G, cache, 'lyap-cheb');
assert_true(isequal(sqrt_backward(c.A, c.G, cache, 'lyap-cheb', 1), by_default), 'lyap-cheb has steps');
end

function test_the_polynomial_of_every_number_of_terms()
% Diagonal matrices whose bounds are tight, so that the condition number alone tells the number of terms.
G = ones(2);
for precision = {'double', 'single'; 300, 3e4; 4e-15, 2e-6}
    for kappa = 10.^(0:0.05:log10(precision{2}))
        A = cast(diag([kappa, 1]), precision{1});
        s = [sqrt(double(A(1))); 1];
        cache = {sqrt(A), sqrt(inv(A)), cast([1, s(1)], precision{1}), zeros(1, 2)};
        dldx = sqrt_backward(A, cast(G, precision{1}), cache, 'lyap-cheb');
        assert_below(relative_error(dldx, G./(s + s')), precision{3}, '%s, condition number %g', precision{1}, kappa);
    end
end
end

function test_classes_and_real_and_complex()
A = [2, 1; 1, 3];
dldy = [1, 2; 0, -1];
for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
    expected = gradient(A, dldy, method{1});
    for pair = {single(A), A; dldy, single(dldy)}
        mixed = gradient(pair{1}, pair{2}, method{1});
        assert_true(isa(mixed, 'single'), '%s: single and double make %s', method{1}, class(mixed));
        assert_below(relative_error(mixed, expected), 1e-6, method{1});
    end
    assert_true(isequal(gradient(A, dldy + 1i*magic(2), method{1}), expected), '%s: not real', method{1});
end
end

function test_large_and_small_matrices()
A = single([2, 1; 1, 3]);
dldy = single([1, 2; 2, -1]);
for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
    expected = gradient(A, dldy, method{1});
    for k = [-60, -30, 30, 62]
        dldx = gradient(A*4^k, dldy, method{1})*2^k;
        assert_below(relative_error(dldx, double(expected)), 1e-6, '%s, 4^%d', method{1}, k);
    end
end
end

function test_gradients_near_the_largest_number()
A = single(3.3e38)*((eye(10, 'single') + 1)/2);
[~, cache] = sqrt_forward(A, 'minimax');
expected = gradient(double(A)/4^60, ones(10), 'lyap-svd')/2^60;
dldx = sqrt_backward(A, ones(10, 'single'), cache, 'lyap-cheb');
assert_below(relative_error(dldx, expected), 1e-6, 'lyap-cheb');
[~, cache] = sqrt_forward(A, 'svd');
for method = {'lyap-svd', 'matrix-backprop'}
    assert_error(@() sqrt_backward(A, A, cache, method{1}), 'sqrtm:notFinite');
end
end

function test_zero()
for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
    dldx = gradient(zeros(3), magic(3), method{1});
    assert_true(isequal(dldx, zeros(3)), method{1});
end
end

function test_empty_arrays()
for method = {'lyap-svd', 'lyap-cheb', 'lyap-ns', 'matrix-backprop'}
    for shape = {[0, 0], [3, 3, 0]}
        dldx = gradient(zeros(shape{1}), zeros(shape{1}, 'single'), method{1});
        assert_true(isequal(size(dldx), shape{1}) && isa(dldx, 'single'), method{1});
    end
end
end

function test_bad_arguments()
A = [2, 1; 1, 3];
[sA, by_svd] = sqrt_forward(A, 'svd');
[~, by_minimax] = sqrt_forward(A, 'minimax');
assert_error(@() sqrt_backward(A, A, by_svd), 'sqrtm:notEnoughInputs');
assert_error(@() sqrt_backward(A, A, by_svd, 'svd'), 'sqrtm:unknownMethod');
assert_error(@() sqrt_backward(A, eye(3), by_svd, 'lyap-svd'), 'sqrtm:sizeMismatch');
assert_error(@() sqrt_backward(A, int8(A), by_svd, 'lyap-svd'), 'sqrtm:notFloat');
assert_error(@() sqrt_backward(int8(A), A, by_svd, 'lyap-svd'), 'sqrtm:notFloat');
assert_error(@() sqrt_backward(ones(2, 3), ones(2, 3), by_svd, 'lyap-svd'), 'sqrtm:notSquare');
assert_error(@() sqrt_backward(sparse(A), A, by_svd, 'lyap-svd'), 'sqrtm:sparse');
for method = {'lyap-svd', 'matrix-backprop'}
    for cache = {{}, by_minimax, {A}, struct(), [], [1, 2], {A, eye(3)}, {eye(3), A}, {A, A}, ...
            {by_svd{2}, by_svd{1}}, {by_svd{1}, int8(by_svd{2})}, {by_svd{1}, sparse(by_svd{2})}}
        assert_error(@() sqrt_backward(A, A, cache{1}, method{1}), 'sqrtm:badCache');
    end
    assert_error(@() sqrt_backward(eye(3), eye(3), by_svd, method{1}), 'sqrtm:badCache');
end
for cache = {by_svd, {A, A, [], []}, {A, A, {1}, {2}}}
    assert_error(@() sqrt_backward(A, A, cache{1}, 'lyap-cheb'), 'sqrtm:badCache');
end
assert_error(@() sqrt_backward(sA, A, {}, 'lyap-ns', 0), 'sqrtm:badIterations');
assert_error(@() sqrt_backward([1, NaN; NaN, 1], A, {}, 'lyap-ns'), 'sqrtm:notFinite');
assert_error(@() sqrt_backward([1, 2; 0, 1], A, {}, 'lyap-ns'), 'sqrtm:notSymmetric');
end

function dldx = gradient(A, dldy, method)
% With what the method takes as X and as cache, and enough steps.
switch method
    case 'lyap-ns'
        dldx = sqrt_backward(sqrt_forward(A), dldy, {}, method, steps_for(method));
    case 'lyap-cheb'
        [~, cache] = sqrt_forward(A, 'minimax');
        dldx = sqrt_backward(A, dldy, cache, method);
    otherwise
        [~, cache] = sqrt_forward(A, 'svd');
        dldx = sqrt_backward(A, dldy, cache, method);
end
end
