function dldx = sqrt_backward(X, dldy, cache, method, maxIter)
%SQRT_BACKWARD  Gradient of a function of the square root of a matrix.
%   dldx = SQRT_BACKWARD(X, dldy, CACHE, METHOD) is the gradient with respect
%   to A of a function whose gradient with respect to sA = A^(1/2) is dldy. It
%   solves the Lyapunov equation sA*dldx + dldx*sA = dldy. All are of the size
%   of A, n x n or n x n x ... . A being symmetric, so is dldx, and (dldy +
%   dldy')/2 counts, of a real A the real part of it. METHOD, and what it takes
%   as X and as CACHE, is
%
%     'lyap-cheb'        A and the cache of 'minimax'. One Newton step with
%                        both roots, then a polynomial in products: in single 6
%                        for condition number 2.5, 13 for 1e2, 25 for 1e4; in
%                        double 11 for 2.5, 21 for 20, or so. Where more
%                        would be needed, eigenvalues of sA in double; for what
%                        'minimax' did by eigenvalues, 4 products with these.
%     'lyap-svd'         A and the cache of 'svd'. Divides by sums of
%                        eigenvalues of sA. 4 products.
%     'lyap-ns'          the root sA, and no cache ({}). Newton-Schulz for the
%                        sign of [sA, dldy; 0, -sA]. 5*MAXITER - 2 products.
%                        For definite A.
%     'matrix-backprop'  A and the cache of 'svd'. Divides by differences of
%                        eigenvalues: loses digits where they are close, and is
%                        wrong where they agree. For comparison. 4 products.
%
%   Of A only the size is used, and whether it is real. The first three are exact
%   where eigenvalues agree.
%
%   dldx = SQRT_BACKWARD(X, dldy, CACHE, METHOD, MAXITER) takes MAXITER steps of
%   'lyap-ns' (default 10; an ill-conditioned A needs more). For the others it
%   means nothing.
%
%   Where A is singular, 'lyap-cheb' and 'lyap-svd' follow the convention of the
%   pseudo-inverse: a quotient is 0 where both eigenvalues count as zero. Those of
%   A do up to max(n, 16)*eps times the largest, for 'lyap-cheb' in single up to
%   4*eps.
%
%   Relative errors in the Frobenius norm, for n up to 512: in single, for
%   condition numbers up to 1e4, below 5e-4 ('lyap-cheb') or 1e-2 ('lyap-svd', and
%   'lyap-ns' after enough steps), and up to 1e2 below 5e-5; in double, up to 1e4,
%   below 5e-11.
%
%   dldx is single if dldy is, or the matrices in the cache (of 'lyap-ns': the
%   root) are. NaN and Inf in dldy are no error and go on to dldx.
%
%   Errors: sqrtm:notEnoughInputs, sqrtm:notFloat, sqrtm:sparse,
%   sqrtm:notSquare, sqrtm:sizeMismatch, sqrtm:badCache, sqrtm:unknownMethod,
%   sqrtm:badIterations, sqrtm:notFinite; 'lyap-ns': sqrtm:notSymmetric.
%
%   Example
%     A = [2, 1; 1, 3];
%     [sA, cache] = sqrt_forward(A, 'minimax');
%     dldA = sqrt_backward(A, 2*sA, cache, 'lyap-cheb')  % of trace(sA*sA): I
%
%   Sources: T.-Y. Lin and S. Maji, Improved Bilinear Pooling with CNNs, BMVC
%   2017 (lyap-svd, lyap-ns); C. Ionescu, O. Vantzos and C. Sminchisescu, Matrix
%   Backpropagation for Deep Networks with Structured Layers, ICCV 2015
%   (matrix-backprop); J. D. Roberts, Int. J. Control 32 (1980) 677-687, and
%   N. I. Achieser, Theory of Approximation, 1956, chapter II (lyap-cheb).
%
%   See also SQRT_FORWARD, MATRIX_SQRT.

if nargin < 4
    error('sqrtm:notEnoughInputs', 'sqrt_backward: X, dldy, cache and method are needed');
end
if nargin < 5
    maxIter = [];
end
method = check_method(method, {'matrix-backprop', 'lyap-svd', 'lyap-ns', 'lyap-cheb'}, 'sqrt_backward');
maxIter = default(check_iterations(maxIter, 'sqrt_backward'), 10);
check_shape(X, 'X', 'sqrt_backward');
check_shape(dldy, 'dldy', 'sqrt_backward');
shape = size(X);
if ~isequal(size(dldy), shape)
    error('sqrtm:sizeMismatch', 'sqrt_backward: dldy must be of the size of X, %s, got %s', ...
        size_text(X), size_text(dldy));
end
if isempty(X)
    dldx = X + dldy;
    return
end
G = symmetrize(dldy(:, :, :));
if isreal(X)
    G = real(G);
end

switch method
    case 'matrix-backprop'
        [U, d] = eigen_of(cache, X, method);
        dldx = matrix_backprop(U, d, G);
    case 'lyap-svd'
        [U, d] = eigen_of(cache, X, method);
        dldx = loewner(U, root_values(d, null_level(U)), G);
    case 'lyap-ns'
        [sA, scale] = check_values(X(:, :, :), 'X', 'sqrt_backward');
        dldx = lyap_newton_schulz(sA, G, maxIter)./scale;
    case 'lyap-cheb'
        sizes = {shape, shape, [1, 2, shape(3:end)], [1, shape(2:end)]};
        [sA, invsA, bounds, s] = check_cache(cache, sizes, X, 'minimax', method);
        dldx = lyap_cheb(sA, invsA, bounds, s, G);
end
dldx = reshape(symmetrize(dldx), shape);
end

function [U, d] = eigen_of(cache, X, method)
% Eigenvectors and eigenvalues, 1 x n x pages, in the cache of 'svd'.
[U, D] = check_cache(cache, {size(X), size(X)}, X, 'svd', method);
d = permute(diagonals(D), [2, 1, 3]);
if ~all(isfinite(d(:)))
    error('sqrtm:notFinite', 'sqrt_backward: eigenvalues in the cache are not finite; scale A, or use ''lyap-cheb''');
end
if ~isequal(D, add_to_diagonal(zeros(size(D), 'like', D), d))
    bad_cache(X, 'svd', method);
end
end

function varargout = check_cache(cache, sizes, X, forward, method)
% What is in the cache, with one dimension of pages, if the forward method made it of an A of the size of X.
valid = iscell(cache) && numel(cache) == numel(sizes);
for k = 1:numel(cache)
    valid = valid && isfloat(cache{k}) && ~issparse(cache{k}) && isequal(size(cache{k}), sizes{k});
end
if ~valid
    bad_cache(X, forward, method);
end
varargout = cellfun(@(x) x(:, :, :), cache, 'UniformOutput', false);
end

function bad_cache(X, forward, method)
error('sqrtm:badCache', ['sqrt_backward: ''%s'' needs the cache that sqrt_forward(A, ''%s'') returns as its second ' ...
    'output for an A of the size of X, %s'], method, forward, size_text(X));
end
