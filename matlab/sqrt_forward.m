function [sA, cache] = sqrt_forward(A, method, maxIter)
%SQRT_FORWARD  Square root of symmetric positive semidefinite matrices.
%   sA = SQRT_FORWARD(A) is the symmetric positive semidefinite matrix with
%   sA*sA = A. A is single or double, real symmetric or complex Hermitian.
%   If A has more than two dimensions, each A(:, :, k) is such a matrix, and
%   sA(:, :, k) its root.
%
%   sA = SQRT_FORWARD(A, METHOD) computes it by one of
%     'minimax'  (default) coupled iteration of matrix products, its
%                polynomials the best for what is known of each spectrum: 4 to
%                12 products where norms show that the eigenvalues lie between
%                10 and 190 per cent of their mean; else about 17 in single,
%                for condition numbers up to 1e4, and 27 in double, up to 1e6.
%                What does not converge, and in single what has a condition
%                number above about 2e4, is done again by eigenvalues, in
%                double.
%     'svd'      eigenvalue decomposition, which of such a matrix is a
%                singular value decomposition
%     'db'       Denman-Beavers iteration, with 2*MAXITER - 1 inverses, from A
%                with entries scaled below 4; for definite A
%     'ns'       coupled Newton-Schulz iteration from A/norm(A, 'fro'):
%                3*MAXITER - 3 products, from 2 steps on
%     'sqrtm'    the built-in SQRTM of each matrix, in double, on the CPU; it
%                may warn where A is singular, where the root is semidefinite
%                but for rounding
%
%   sA = SQRT_FORWARD(A, METHOD, MAXITER) takes MAXITER steps of 'db' or 'ns'
%   (default 10); for the others it means nothing. Both stop short of the root
%   where A is too ill-conditioned for so many steps, without a word. Where A is
%   singular, 'ns' amplifies rounding, from about 20 steps on in single and 45 in
%   double, without bound.
%
%   [sA, CACHE] = SQRT_FORWARD(A, METHOD) also returns what SQRT_BACKWARD
%   needs for the gradient:
%     'svd'      {U, D}, eigenvectors and eigenvalues: A = U*D*U', as far as
%                they are within the range of the class of A
%     'minimax'  {sA, invsA, bounds, s}, with sA*invsA = I and bounds on the
%                least and the largest eigenvalue of sA, 1 x 2. What was done by
%                eigenvalues has them in s, 1 x n (else 0), its eigenvectors in
%                place of invsA, and bounds(1) = 0.
%     others     {}
%
%   Relative errors in the Frobenius norm, for n up to 512: in single, for
%   condition numbers up to 1e4, below 2e-5 ('minimax') or 3e-4 ('svd', and 'db' and
%   'ns' after enough steps), and up to 1e2 below 2e-5; in double, up to 1e4, below
%   1e-12. Of 'minimax' in single below 2e-6 above 3e4.
%
%   What rounding explains is forgiven: (A + A')/2 counts where norm(A - A')/norm(A)
%   in the Frobenius norm is at most 1e-5 in double and 3.5e-4 in single, and
%   eigenvalues are taken for 0 that are negative by at most max(n, 128)*eps times
%   the largest.
%
%   Errors: sqrtm:notEnoughInputs, sqrtm:notFloat, sqrtm:sparse,
%   sqrtm:notSquare, sqrtm:notFinite, sqrtm:notSymmetric,
%   sqrtm:notPositiveSemidefinite, sqrtm:singular ('db', where an eigenvalue is
%   below max(n, 16)*eps times the largest), sqrtm:unknownMethod,
%   sqrtm:badIterations.
%
%   Example
%     X = randn(1000, 64);
%     A = X'*X/1000;
%     [sA, cache] = sqrt_forward(A, 'minimax');
%     dldA = sqrt_backward(A, ones(64), cache, 'lyap-cheb');
%
%   Sources: N. J. Higham, Functions of Matrices, SIAM 2008, section 6.3 (db:
%   eq. 6.15; ns: eq. 6.20); T.-Y. Lin and S. Maji, Improved Bilinear Pooling
%   with CNNs, BMVC 2017; N. Amsel, D. Persson, C. Musco and R. M. Gower, The
%   Polar Express, arXiv 2505.16932 (minimax polynomials).
%
%   See also SQRT_BACKWARD, MATRIX_SQRT, SQRTM.

if nargin < 1
    error('sqrtm:notEnoughInputs', 'sqrt_forward: A is missing');
end
if nargin < 2 || isempty(method) && (ischar(method) || isnumeric(method))
    method = 'minimax';
end
if nargin < 3
    maxIter = [];
end
method = check_method(method, {'minimax', 'svd', 'db', 'ns', 'sqrtm'}, 'sqrt_forward');
maxIter = default(check_iterations(maxIter, 'sqrt_forward'), 10);
check_shape(A, 'A', 'sqrt_forward');
shape = size(A);
cache = {};
if isempty(A)
    sA = A;
    if any(strcmp(method, {'minimax', 'svd'}))
        cache = repmat({A}, 1, 2 + 2*strcmp(method, 'minimax'));
    end
    return
end

[A, scale] = check_values(A(:, :, :), 'A', 'sqrt_forward');
switch method
    case 'minimax'
        [sA, invsA, bounds, s] = minimax(A, nargout > 1);
    case 'svd'
        [U, d] = eigen(A);
        d = semidefinite(d, A, 1:size(A, 3));
        sA = page_times(U.*sqrt(d), page_ctranspose(U));
        D = add_to_diagonal(zeros(size(A), 'like', d), d.*scale);
        cache = {reshape(U, shape), reshape(D, shape)};
    case 'db'
        sA = denman_beavers(A, maxIter);
    case 'ns'
        sA = newton_schulz(A, maxIter);
    case 'sqrtm'
        sA = built_in(A);
end
sA = reshape(symmetrize(sA).*sqrt(scale), shape);
if strcmp(method, 'minimax') && nargout > 1
    factor = 1./sqrt(scale);
    factor(host(bounds(:, 1, :)) == 0) = 1;  % eigenvectors
    bounds = reshape(bounds.*sqrt(scale), [1, 2, shape(3:end)]);
    s = reshape(s.*sqrt(scale), [1, shape(2:end)]);
    cache = {sA, reshape(invsA.*factor, shape), bounds, s};
end
end

function X = denman_beavers(A, steps)
% X <- (X + inv(Y))/2, Y <- (Y + inv(X))/2 from X = A, Y = I.
check_definite(A, true);
X = A;
Y = add_to_diagonal(zeros(size(A), 'like', A), 1);
for step = 1:steps
    before = X;
    X = (X + page_inverse(Y))/2;
    if step < steps
        Y = (Y + page_inverse(before))/2;
    end
end
end

function A = page_inverse(A)
for k = 1:size(A, 3)
    A(:, :, k) = inv(A(:, :, k));
end
end

function Y = newton_schulz(A, steps)
% Y <- Y*T, Z <- T*Z with T = (3*I - Z*Y)/2, from Y = A/c, Z = I, c = norm(A, 'fro').
check_definite(A, false);
c = page_norm(A);
c(c == 0) = 1;
Y = A./c;
Z = add_to_diagonal(-Y/2, 1.5);  % the first step: Z = I, so T = (3*I - Y)/2
Y = page_times(Y, Z);
for step = 2:steps
    T = add_to_diagonal(-page_times(Z, Y)/2, 1.5);
    Y = page_times(Y, T);  % this order of factors is the stable one
    if step < steps
        Z = page_times(T, Z);
    end
end
Y = Y.*sqrt(c);
end

function S = built_in(A)
% SQRTM of each matrix; in double, because in single it has been seen to lose more digits than the other methods.
check_definite(A, false);
S = A;
for k = 1:size(A, 3)
    root = sqrtm(double(host(A(:, :, k))));
    if isreal(A)
        root = real(root);  % an eigenvalue that rounding made negative has an imaginary root
    end
    S(:, :, k) = root;
end
end
