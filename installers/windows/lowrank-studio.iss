; The installer for Windows, for Inno Setup 6.3 or newer. It asks for no administrator, installs for one user into any folder on
; any drive, and leaves models and runs alone when it is uninstalled, unless the user wants them deleted.
;
;   py launch.py package
;   iscc /DSource=dist\lowrank-studio-0.1.0-windows-amd64-cpu /DVersion=0.1.0 installers\windows\lowrank-studio.iss

#ifndef Source
  #error Say which folder the program lies in: /DSource=dist\lowrank-studio-VERSION-windows-amd64-cpu
#endif
#ifndef Version
  #error Say the version: /DVersion=0.1.0
#endif

[Setup]
AppId={{6D1B0E7E-6B0B-4E0C-9E6A-5C7B5F1E2A90}
AppName=Lowrank Studio
AppVersion={#Version}
AppPublisher=Lowrank Studio
DefaultDirName={localappdata}\Programs\Lowrank Studio
DefaultGroupName=Lowrank Studio
DisableDirPage=no
DisableProgramGroupPage=yes
PrivilegesRequired=lowest
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
MinVersion=10.0.17763
LicenseFile={#SourcePath}\..\..\LICENSE
OutputDir={#SourcePath}\..\..\dist
OutputBaseFilename={#ExtractFileName(Source)}-setup
UninstallDisplayIcon={app}\lowrank-studio.exe
Compression=lzma2/normal
LZMANumBlockThreads=4
SolidCompression=yes
DiskSpanning=no
ChangesAssociations=yes
ChangesEnvironment=yes
CloseApplications=no
WizardStyle=modern

[Languages]
Name: "en"; MessagesFile: "compiler:Default.isl"

[CustomMessages]
en.PathTask=Add the command "lowrank" to the PATH
en.OpenWith=Offer Lowrank Studio to open spec files (*.yaml)
en.DeleteData=Delete your models, runs and exports too?%n%nThey lie in:%n%1%n%nThis cannot be undone.
en.Busy=Lowrank Studio is still at work. Close its window, stop its runs, and try again.

[Tasks]
Name: "desktopicon"; Description: "{cm:CreateDesktopIcon}"; Flags: unchecked
Name: "path"; Description: "{cm:PathTask}"
Name: "openwith"; Description: "{cm:OpenWith}"

[Files]
Source: "{#Source}\*"; DestDir: "{app}"; Flags: ignoreversion recursesubdirs createallsubdirs

[InstallDelete]
; an update replaces the program whole: what an older version had in it must not be found by the new one
Type: filesandordirs; Name: "{app}\_internal"

[Icons]
Name: "{group}\Lowrank Studio"; Filename: "{app}\lowrank-studio.exe"; AppUserModelID: "lowrank-studio"
Name: "{userdesktop}\Lowrank Studio"; Filename: "{app}\lowrank-studio.exe"; Tasks: desktopicon

[Registry]
Root: HKCU; Subkey: "Software\Classes\LowrankStudio.Spec"; ValueType: string; ValueData: "Lowrank Studio spec"; Flags: uninsdeletekey; Tasks: openwith
Root: HKCU; Subkey: "Software\Classes\LowrankStudio.Spec\shell\open\command"; ValueType: string; ValueData: """{app}\lowrank-studio.exe"" ""%1"""; Tasks: openwith
Root: HKCU; Subkey: "Software\Classes\.yaml\OpenWithProgids"; ValueType: string; ValueName: "LowrankStudio.Spec"; ValueData: ""; Flags: uninsdeletevalue; Tasks: openwith
Root: HKCU; Subkey: "Software\Classes\.yml\OpenWithProgids"; ValueType: string; ValueName: "LowrankStudio.Spec"; ValueData: ""; Flags: uninsdeletevalue; Tasks: openwith

[Run]
Filename: "{app}\lowrank-studio.exe"; Description: "{cm:LaunchProgram,Lowrank Studio}"; Flags: nowait postinstall skipifsilent

[Code]
const
  EnvironmentKey = 'Environment';

function PathWithout(Path, Folder: string): string;
var
  Part: string;
  Position: Integer;
begin
  Result := '';
  while Path <> '' do
  begin
    Position := Pos(';', Path);
    if Position = 0 then Position := Length(Path) + 1;
    Part := Copy(Path, 1, Position - 1);
    Delete(Path, 1, Position);
    if (Part <> '') and (CompareText(Part, Folder) <> 0) then
    begin
      if Result <> '' then Result := Result + ';';
      Result := Result + Part;
    end;
  end;
end;

procedure SetPath(Wanted: Boolean);
var
  Path, Fresh: string;
begin
  if not RegQueryStringValue(HKCU, EnvironmentKey, 'Path', Path) then Path := '';
  Fresh := PathWithout(Path, ExpandConstant('{app}'));
  if Wanted then
  begin
    if Fresh <> '' then Fresh := Fresh + ';';
    Fresh := Fresh + ExpandConstant('{app}');
  end;
  if Fresh <> Path then RegWriteExpandStringValue(HKCU, EnvironmentKey, 'Path', Fresh);
end;

procedure CurStepChanged(CurStep: TSetupStep);
begin
  if CurStep = ssPostInstall then SetPath(WizardIsTaskSelected('path'));
end;

function Ask(Arguments: string; var Answer: string): Boolean;
var
  Status: Integer;
  Told: TExecOutput;
begin
  try
    Result := ExecAndCaptureOutput(ExpandConstant('{app}\lowrank.exe'), Arguments, '', SW_HIDE, ewWaitUntilTerminated,
      Status, Told);
  except
    { its output could not be read: uninstalling goes on, and the data stays }
    Result := False;
  end;
  if Result then Result := (Status = 0) and (GetArrayLength(Told.StdOut) > 0);
  if Result then Answer := Trim(Told.StdOut[0]);
end;

function InitializeUninstall(): Boolean;
var
  Executable: string;
begin
  { a program at work keeps its own file from being renamed }
  Executable := ExpandConstant('{app}\lowrank-studio.exe');
  Result := True;
  if FileExists(Executable) then
  begin
    Result := RenameFile(Executable, Executable + '.free') and RenameFile(Executable + '.free', Executable);
    if not Result then MsgBox(CustomMessage('Busy'), mbError, MB_OK);
  end;
end;

procedure CurUninstallStepChanged(CurUninstallStep: TUninstallStep);
var
  Folder: string;
begin
  if CurUninstallStep = usUninstall then
  begin
    SetPath(False);
    if not UninstallSilent and Ask('-m core.cli.folders', Folder) and DirExists(Folder) then
      if MsgBox(FmtMessage(CustomMessage('DeleteData'), [Folder]), mbConfirmation, MB_YESNO or MB_DEFBUTTON2) = IDYES then
        Ask('-m core.cli.folders --delete', Folder);
  end;
end;
