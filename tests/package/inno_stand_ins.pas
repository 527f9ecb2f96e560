{ Stands for Inno Setup, so that Free Pascal can compile the code of the installer's script. }
{$mode delphi}
program check;
uses SysUtils;
type
  TArrayOfString = array of string;
  TExecOutput = record StdOut, StdErr: TArrayOfString; Error: Boolean; end;
  TSetupStep = (ssPreInstall, ssInstall, ssPostInstall, ssDone);
  TUninstallStep = (usAppMutexCheck, usUninstall, usPostUninstall, usDone);
  TMsgBoxType = (mbInformation, mbConfirmation, mbError, mbCriticalError);
  TExecWait = (ewNoWait, ewWaitUntilTerminated, ewWaitUntilIdle);
const
  HKCU = 1; SW_HIDE = 0; MB_OK = 0; MB_YESNO = 4; MB_DEFBUTTON2 = $100; IDYES = 6;
function RegQueryStringValue(Root: Integer; Key, Name: string; var Value: string): Boolean; begin Value := ''; Result := True; end;
function RegWriteExpandStringValue(Root: Integer; Key, Name, Value: string): Boolean; begin Result := True; end;
function ExpandConstant(S: string): string; begin Result := S; end;
function WizardIsTaskSelected(S: string): Boolean; begin Result := True; end;
function ExecAndCaptureOutput(F, P, W: string; Show: Integer; Wait: TExecWait; var Code: Integer; var O: TExecOutput): Boolean; begin Code := 0; Result := True; end;
function GetArrayLength(A: TArrayOfString): Integer; begin Result := Length(A); end;
function CustomMessage(S: string): string; begin Result := S; end;
function FmtMessage(S: string; A: array of string): string; begin Result := S; end;
function MsgBox(S: string; T: TMsgBoxType; B: Integer): Integer; begin Result := 0; end;
function DirExists(S: string): Boolean; begin Result := True; end;
function UninstallSilent: Boolean; begin Result := False; end;

{ THE SCRIPT }

procedure Expect(Got, Wanted: string); begin if Got <> Wanted then begin writeln('got ', Got, ' wanted ', Wanted); halt(1); end; end;
begin
  Expect(PathWithout('', 'C:\x'), '');
  Expect(PathWithout('C:\x', 'C:\x'), '');
  Expect(PathWithout('C:\a;C:\X;C:\b', 'c:\x'), 'C:\a;C:\b');
  Expect(PathWithout('C:\a;;C:\x\y;', 'c:\x'), 'C:\a;C:\x\y');
  writeln('ok');
end.
