function [good, bad] = shared_cases()
%SHARED_CASES  What tests/cases.mat has, which the Python tests use too; tests/cases.py describes it.

folder = fileparts(mfilename('fullpath'));
cases = load(fullfile(folder, '..', '..', '..', 'tests', 'cases.mat'));
good = reshape(cases.good, 1, []);
bad = reshape(cases.bad, 1, []);
end
