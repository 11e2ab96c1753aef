function run_tests()
%RUN_TESTS  Run every test of the functions test_*.m beside this file; an error if one fails.
%   From a shell: octave-cli --eval "addpath('matlab/tests'); run_tests"

folder = fileparts(mfilename('fullpath'));
addpath(fullfile(folder, '..'), folder);
files = dir(fullfile(folder, 'test_*.m'));
failed = 0;
count = 0;
for file = files'
    tests = feval(file.name(1:end - 2));
    tests = tests(strncmp(cellfun(@func2str, tests, 'UniformOutput', false), 'test', 4));
    for k = 1:numel(tests)
        count = count + 1;
        try
            tests{k}();
        catch problem
            failed = failed + 1;
            fprintf('FAILED %s: %s: %s\n', file.name, func2str(tests{k}), problem.message);
        end
    end
end
fprintf('%d tests, %d failed\n', count, failed);
if failed > 0
    error('sqrtm:testsFailed', '%d of %d tests failed', failed, count);
end
end
