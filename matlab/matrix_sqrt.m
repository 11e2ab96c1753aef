function results = matrix_sqrt(varargin)
%MATRIX_SQRT  Compare ways to compute the square root of a matrix and its gradient.
%   MATRIX_SQRT draws covariance matrices A = X'*X/numPoints + tau*eye(n) of
%   standard normal X, numPoints x n, and symmetric standard normal gradients
%   dldy, and prints for every method of SQRT_FORWARD and of SQRT_BACKWARD the
%   median time of a run and the relative error in the Frobenius norm, of the
%   worst matrix. Errors are against SQRTM of the same A in double precision and
%   the solution of its Lyapunov equation there, so that of 'sqrtm' itself is what
%   rounding to the precision of A makes.
%
%   MATRIX_SQRT(NAME, VALUE, ...) changes
%     'n'           size of the matrices (512)
%     'tau'         multiple of the identity that is added (1)
%     'numPoints'   number of points (1000)
%     'batch'       number of matrices, A is n x n x batch (1)
%     'precision'   'single' or 'double' ('single')
%     'maxIter'     steps of 'db', 'ns' and 'lyap-ns' (10)
%     'runIter'     number of timed runs of each method, after one that is not (10)
%     'gpu'         true to compute on a GPU by gpuArray (false); 'sqrtm', and
%                   the checks of 'db' and 'ns', are computed on the CPU
%     'seed'        of the random numbers (0), which differ between MATLAB and
%                   Octave
%
%   RESULTS = MATRIX_SQRT(...) also returns a struct array with fields pass
%   ('forward' or 'backward'), method, seconds and error.
%
%   'matrix-backprop' and 'lyap-ns' are in the table as they are: the first loses
%   digits where eigenvalues are close, the second has often not converged after
%   10 steps.
%
%   Errors: sqrtm:badOption, sqrtm:noGPU; sqrtm:singular of 'db', if A is singular
%   to its precision.
%
%   Example
%     matrix_sqrt('n', 64, 'batch', 128, 'precision', 'double')
%
%   See also SQRT_FORWARD, SQRT_BACKWARD.

options = parse_options(varargin);
before = rng();
restore = onCleanup(@() rng(before));
rng(options.seed, 'twister');
[A, dldy] = draw(options);
[trueRoot, trueGradient] = truth(double(A), double(dldy));
place = 'CPU';
if options.gpu
    place = 'GPU';
    A = gpuArray(A);
    dldy = gpuArray(dldy);
end

program = ['MATLAB ' version()];
if exist('OCTAVE_VERSION', 'builtin')
    program = ['GNU Octave ' version()];
end
fprintf('Experiment, %s:\n', program);
fprintf('>>>> n %d, tau %g, numPoints %d, batch %d, %s, %s, maxIter %d, runIter %d\n', options.n, options.tau, ...
    options.numPoints, options.batch, options.precision, place, options.maxIter, options.runIter);
results = struct('pass', {}, 'method', {}, 'seconds', {}, 'error', {});
iterations = sprintf(' (%d iter)', options.maxIter);

fprintf('\n%-35s %9s  %7s\n', 'Forward', 'time', 'error');
methods = {  % name, its argument, what the table calls it
    'sqrtm', [], 'sqrtm, in double'
    'svd', [], 'SVD'
    'db', options.maxIter, ['Denman-Beavers' iterations]
    'ns', options.maxIter, ['Newton-Schulz' iterations]
    'minimax', [], 'Minimax'};
for row = methods'
    [name, maxIter, label] = row{:};
    [seconds, found.(name), caches.(name)] = timed(@() sqrt_forward(A, name, maxIter), options);
    results(end + 1) = report('forward', name, label, seconds, found.(name), trueRoot); %#ok<AGROW>
end

fprintf('\n%-35s %9s  %7s\n', 'Backward', 'time', 'error');
methods = {
    'matrix-backprop', A, caches.svd, [], 'Matrix-backprop'
    'lyap-svd', A, caches.svd, [], 'Lyapunov SVD'
    'lyap-ns', found.ns, {}, options.maxIter, ['Lyapunov Newton-Schulz' iterations]
    'lyap-cheb', A, caches.minimax, [], 'Lyapunov Chebyshev'};
for row = methods'
    [name, X, cache, maxIter, label] = row{:};
    [seconds, gradient] = timed(@() sqrt_backward(X, dldy, cache, name, maxIter), options);
    results(end + 1) = report('backward', name, label, seconds, gradient, trueGradient); %#ok<AGROW>
end
if nargout == 0
    clear results;
end
end

function options = parse_options(pairs)
% The options as a struct: the defaults, changed by names and values.
number = @(x) isnumeric(x) && ~issparse(x) && isscalar(x) && isreal(x) && isfinite(x) && x >= 0;
moderate = @(x) number(x) && x <= 1e100;
whole = @(x) number(x) && x == fix(x);
positive = @(x) whole(x) && x >= 1;
seed = @(x) whole(x) && x < 2^32;
logical_one = @(x) isscalar(x) && (islogical(x) || isequal(x, 0) || isequal(x, 1));
precision = @(x) (ischar(x) || isstring(x)) && any(strcmp(x, {'single', 'double'}));
known = {  % name, default, what it must be, the same in words
    'n', 512, positive, 'a positive whole number'
    'tau', 1, moderate, 'a number of at least 0 and at most 1e100'
    'numPoints', 1000, positive, 'a positive whole number'
    'batch', 1, positive, 'a positive whole number'
    'precision', 'single', precision, '''single'' or ''double'''
    'maxIter', 10, positive, 'a positive whole number'
    'runIter', 10, positive, 'a positive whole number'
    'gpu', false, logical_one, 'true or false'
    'seed', 0, seed, 'a whole number of at least 0 and below 2^32'};
options = cell2struct(known(:, 2), known(:, 1), 1);
for k = 1:2:numel(pairs)
    name = pairs{k};
    if ~ischar(name) && ~(isstring(name) && isscalar(name))
        error('sqrtm:badOption', 'matrix_sqrt: argument %d must be the name of an option, got %s', k, class(name));
    end
    found = find(strcmpi(name, known(:, 1)));
    if isempty(found)
        error('sqrtm:badOption', 'matrix_sqrt: unknown option ''%s''; there are %s', name, strjoin(known(:, 1)', ', '));
    end
    [option, ~, valid, words] = known{found, :};
    if k == numel(pairs)
        error('sqrtm:badOption', 'matrix_sqrt: option ''%s'' has no value', option);
    end
    if ~valid(pairs{k + 1})
        error('sqrtm:badOption', 'matrix_sqrt: ''%s'' must be %s', option, words);
    end
    value = pairs{k + 1};
    if isnumeric(value)
        value = double(value);
    end
    options.(option) = value;
end
options.precision = char(options.precision);
if options.tau == 0 && options.numPoints < options.n
    error('sqrtm:badOption', 'matrix_sqrt: with ''tau'' 0 and ''numPoints'' below ''n'', A would be singular');
end
if options.gpu && ~(exist('gpuDeviceCount', 'file') && gpuDeviceCount() > 0)
    error('sqrtm:noGPU', 'matrix_sqrt: ''gpu'' needs the Parallel Computing Toolbox of MATLAB and a GPU');
end
end

function [A, dldy] = draw(options)
% The matrices and the gradients of their roots.
A = zeros(options.n, options.n, options.batch);
for k = 1:options.batch
    X = randn(options.numPoints, options.n);
    A(:, :, k) = X'*X/options.numPoints + options.tau*eye(options.n);
end
A = cast(A, options.precision);
if ~all(isfinite(A(:)))
    error('sqrtm:badOption', 'matrix_sqrt: ''tau'' is too large for %s', options.precision);
end
dldy = cast(randn(size(A)), options.precision);
dldy = (dldy + permute(dldy, [2, 1, 3]))/2;
end

function [S, X] = truth(A, dldy)
% The root by SQRTM, and the solution of S*X + X*S = dldy in its eigenbasis.
S = A;
X = A;
for k = 1:size(A, 3)
    root = sqrtm(A(:, :, k));
    S(:, :, k) = (root + root')/2;
    [U, D] = eig(S(:, :, k));
    X(:, :, k) = U*((U'*dldy(:, :, k)*U)./(diag(D) + diag(D)'))*U';
end
end

function [seconds, varargout] = timed(run, options)
% Median time of a run, after one that is not timed, and what it returns.
times = zeros(1, options.runIter);
for k = 0:options.runIter
    start = tic();
    [varargout{1:nargout - 1}] = run();
    if options.gpu
        wait(gpuDevice());
    end
    if k > 0
        times(k) = toc(start);
    end
end
seconds = median(times);
end

function row = report(pass, name, label, seconds, X, exact)
% Print a line of the table, and return it as a struct.
if isa(X, 'gpuArray')
    X = gather(X);
end
distances = sqrt(sum(sum((double(X) - exact).^2, 1), 2)./sum(sum(exact.^2, 1), 2));
worst = max(distances);
if any(isnan(distances))  % which MAX leaves out
    worst = NaN;
end
row = struct('pass', pass, 'method', name, 'seconds', seconds, 'error', worst);
fprintf(' %-34s %6.1f ms  %7.1e\n', label, seconds*1e3, row.error);
end
